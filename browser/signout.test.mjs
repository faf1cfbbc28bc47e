// Tests that signing out and choosing another account do what their buttons say, with a provider that has single sign-on.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {launchBrowser, newPerson} from './harness.mjs';
import {World} from './world.mjs';

const world = new World();
let browser;

before(async () => {
  await world.start();
  browser = await launchBrowser();
}, {timeout: 120_000});

after(async () => {
  await browser?.close();
  await world.stop();
});

const pick = (page, user) => page.getByRole('button', {name: user, exact: true}).click();
const link = (page, name) => page.getByRole('link', {name, exact: true});

// signedIn opens the reports as a user.
async function signedIn(t, user, path = '/') {
  const context = await newPerson(t, browser);
  const page = await context.newPage();
  await page.goto(world.reports + path);
  await pick(page, user);
  await page.waitForURL(world.reports + path);
  return [context, page];
}

async function signOut(page) {
  await page.goto(world.reports + '/.sallyport/logout');
  await page.getByRole('button', {name: 'Sign out', exact: true}).click();
  await page.getByRole('heading', {name: 'You are signed out'}).waitFor();
}

test('signing out at the provider ends on a page that says so', {timeout: 60_000}, async t => {
  const [context, page] = await signedIn(t, 'ada');
  await signOut(page);
  const before = world.provider.signOuts.length;
  await link(page, 'Sign out at the provider').click();
  await page.waitForURL(world.login + '/.sallyport/logout**');
  await page.getByRole('heading', {name: 'You are signed out'}).waitFor();
  assert.equal(await link(page, 'Sign out at the provider').count(), 0);
  const asked = world.provider.signOuts.slice(before);
  assert.equal(asked.length, 1);
  assert.equal(asked[0].get('id_token_hint').split('.').length, 3, 'the provider gets the ID token');
  await link(page, 'Sign in again').click();
  await page.getByRole('heading', {name: 'Who are you?'}).waitFor();
  assert.equal((await context.cookies(world.reports)).filter(c => c.name === '__Host-sallyport').length, 0);
});

test('signing in again lets the person choose the account', {timeout: 60_000}, async t => {
  const [, page] = await signedIn(t, 'grace', '/board?x=1');
  await page.getByText('You may not open this').waitFor();
  await link(page, 'Sign out').click();
  await page.getByRole('button', {name: 'Sign out', exact: true}).click();
  await page.getByRole('heading', {name: 'You are signed out'}).waitFor();
  await link(page, 'Sign in again').click(); // the provider still knows grace
  await pick(page, 'ada');
  await page.locator('#asked').waitFor();
  assert.equal(page.url(), world.reports + '/board?x=1');
});

test('another account is another account', {timeout: 60_000}, async t => {
  const [, page] = await signedIn(t, 'grace', '/board?x=2');
  await link(page, 'Use another account').click();
  await pick(page, 'ada');
  await page.locator('#asked').waitFor();
  assert.equal(page.url(), world.reports + '/board?x=2');
});

test('whoever is not set up here can choose another account', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  const page = await context.newPage();
  await page.goto(world.reports + '/board?x=3');
  await pick(page, 'stranger');
  await page.getByRole('heading', {name: 'Your account is not set up here'}).waitFor();
  await link(page, 'Use another account').click();
  await pick(page, 'ada');
  await page.locator('#asked').waitFor();
  assert.equal(page.url(), world.reports + '/board?x=3');
});

test('a session that is over: no question', {timeout: 60_000}, async t => {
  const [context, page] = await signedIn(t, 'ada');
  const other = await context.newPage();
  await signOut(other);
  await page.goto(world.reports + '/.sallyport/logout');
  await page.getByRole('heading', {name: 'You are signed out'}).waitFor();
  assert.equal(await page.getByRole('button').count(), 0);
});

test('a button that another tab made useless still ends on the page', {timeout: 60_000}, async t => {
  const [context, page] = await signedIn(t, 'ada');
  await page.goto(world.reports + '/.sallyport/logout');
  const other = await context.newPage();
  await signOut(other);
  await page.getByRole('button', {name: 'Sign out', exact: true}).click();
  await page.getByRole('heading', {name: 'You are signed out'}).waitFor();
});

test('a method that is not allowed is named', {timeout: 60_000}, async t => {
  const [, page] = await signedIn(t, 'ada');
  const [status, problem] = await page.evaluate(async () => {
    const response = await fetch('/board', {method: 'DELETE'});
    return [response.status, await response.json()];
  });
  assert.equal(status, 403);
  assert.match(problem.detail, /GET, HEAD, POST.*what you asked for was DELETE/);
});
