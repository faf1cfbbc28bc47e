// Tests that a person gets in with a break-glass code while the provider is down, and sees on every page that they did.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {finish, launchBrowser, newPerson, spawnSallyport} from './harness.mjs';
import {World} from './world.mjs';

const world = new World();
let browser;

before(async () => {
  await world.start();
  world.provider.close();
  browser = await launchBrowser();
}, {timeout: 120_000});

after(async () => {
  await browser?.close();
  await world.stop();
});

const arm = async user => JSON.parse(await finish(spawnSallyport('breakglass', 'arm', user, '--reason', 'the provider is down', '-o', 'json', '-c', world.file)));

test('a code leads to the application, and every page says so', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  const page = await context.newPage();
  const {code, address} = await arm('ada');
  await page.goto(address + '?return_to=' + encodeURIComponent(world.reports + '/board?x=1'));
  await page.getByLabel('Code').fill('0000-0000');
  await page.getByRole('button', {name: 'Begin the session'}).click();
  await page.getByText('This code is not valid').waitFor();
  await page.getByLabel('Code').fill(' ' + code.toLowerCase().replaceAll('-', ' '));
  await page.getByRole('button', {name: 'Begin the session'}).click();
  await page.waitForURL(world.reports + '/board?x=1');
  assert.equal(await page.locator('h1').textContent(), 'ada');

  const banner = page.getByRole('status').getByText('Break-glass session of ada');
  await page.goto(world.login + '/');
  await banner.waitFor();
  await page.goto(world.reports + '/.sallyport/logout');
  await banner.waitFor();
  await page.getByRole('button', {name: 'Sign out', exact: true}).click();
  await page.getByRole('heading', {name: 'You are signed out'}).waitFor();
  assert.equal(await page.getByRole('link', {name: 'Sign out at the provider'}).count(), 0);
  assert.equal(await banner.count(), 0);
});

test('while nothing is armed there is no page', {timeout: 60_000}, async t => {
  const page = await (await newPerson(t, browser)).newPage();
  const response = await page.goto(world.login + '/.sallyport/breakglass');
  assert.equal(response.status(), 404);
});

test('a page of another site cannot enter a code', {timeout: 60_000}, async t => {
  const page = await (await newPerson(t, browser)).newPage();
  const {code, address} = await arm('eve');
  await page.goto(world.abroad + '/form?to=' + encodeURIComponent(address + '?code=' + code));
  await page.locator('textarea').evaluate((field, code) => { field.name = 'code'; field.value = code; }, code);
  await page.getByRole('button', {name: 'Save'}).click();
  await page.getByText('That came from another site').waitFor();
});
