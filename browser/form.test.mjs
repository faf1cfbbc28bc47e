// Tests that a form whose session had run out, or that another site sends, arrives after the sign-in.
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

const pick = (page, user = 'ada') => page.getByRole('button', {name: user, exact: true}).click();
const text = 'Zeile eins\r\n"Zweifelsfall" & <drei>: äöü ' + 'x'.repeat(100_000);

// fillIn opens the form, signs in, fills it in, and ends the session under it.
async function fillIn(page) {
  await page.goto(world.wiki + '/form?to=/save%3Fa=b');
  await pick(page);
  await page.locator('textarea').fill(text);
  await page.context().clearCookies({domain: 'id.castle.localhost'}); // the provider asks again
  await world.endSessions('ada');
}

async function saved(page, origin) {
  await page.locator('#saved').waitFor().catch(async () => assert.fail(`ended at ${page.url()}: ${await page.locator('body').innerText()}`));
  await page.waitForLoadState(); // a page that is still read has a part of the text
  const got = await page.locator('#saved').textContent();
  assert.ok(got.replace(/\r/g, '') === text.replace(/\r/g, ''), `${got.length} bytes: ${got.slice(0, 100)}`);
  assert.equal(await page.locator('h1').innerText(), 'ada');
  assert.equal(await page.locator('#origin').innerText(), origin);
}

test('is sent after the sign-in, when the person presses the button', {timeout: 60_000}, async t => {
  const page = await (await newPerson(t, browser)).newPage();
  await fillIn(page);
  await page.getByRole('button', {name: 'Save'}).click();
  assert.ok(!(await page.content()).includes('Zweifelsfall'), 'the page has the form in clear');
  await page.getByRole('link', {name: 'Sign in again'}).click();
  await pick(page);
  await page.getByText('POST ' + world.wiki + '/save').waitFor();
  await page.getByRole('button', {name: 'Send the form'}).click();
  await saved(page, world.wiki);
  assert.equal(page.url(), world.wiki + '/save?a=b');
  await page.reload();
  await page.getByText('This form cannot be sent again').waitFor();
});

test('without scripts, the page waits for a sign-in in another tab', {timeout: 60_000}, async t => {
  const context = await browser.newContext({javaScriptEnabled: false});
  t.after(() => context.close());
  const page = await context.newPage();
  await fillIn(page);
  await page.getByRole('button', {name: 'Save'}).click();
  const opened = context.waitForEvent('page');
  await page.getByRole('link', {name: 'Sign in again'}).click();
  const other = await opened;
  await pick(other);
  await other.getByText('This tab has no form').waitFor();
  assert.equal(await other.getByRole('button').filter({visible: true}).count(), 0);
  await page.getByRole('button', {name: 'Send the form'}).click();
  await saved(page, world.wiki);
});

test('is not sent for another user', {timeout: 60_000}, async t => {
  const page = await (await newPerson(t, browser)).newPage();
  await fillIn(page);
  await page.getByRole('button', {name: 'Save'}).click();
  await page.getByRole('link', {name: 'Sign in again'}).click();
  await pick(page, 'eve');
  await page.getByRole('button', {name: 'Send the form'}).click();
  await page.getByText('This form cannot be sent again').waitFor();
});

test('of another site is offered again, and sent at once where the route names the site', {timeout: 60_000}, async t => {
  const page = await (await newPerson(t, browser)).newPage();
  await page.goto(world.wiki + '/');
  await pick(page);
  await page.locator('#asked').waitFor();
  await page.goto(world.abroad + '/form?to=' + encodeURIComponent(world.wiki + '/save'));
  await page.locator('textarea').fill(text);
  await page.getByRole('button', {name: 'Save'}).click();
  await page.getByText('Another site sent a form').waitFor();
  await page.getByText(world.abroad, {exact: true}).waitFor();
  await page.getByRole('button', {name: 'Send it'}).click();
  await saved(page, world.abroad);

  await page.goto(world.reports + '/');
  await page.locator('#asked').waitFor();
  await page.goto(world.abroad + '/form?to=' + encodeURIComponent(world.reports + '/save'));
  await page.locator('textarea').fill(text);
  await page.getByRole('button', {name: 'Save'}).click();
  await saved(page, world.abroad);
});

test('of another site survives a sign-in', {timeout: 60_000}, async t => {
  const page = await (await newPerson(t, browser)).newPage();
  await page.goto(world.abroad + '/form?to=' + encodeURIComponent(world.wiki + '/save'));
  await page.locator('textarea').fill(text);
  await page.getByRole('button', {name: 'Save'}).click();
  await page.getByRole('button', {name: 'Send it'}).click();
  await page.getByRole('link', {name: 'Sign in again'}).click();
  await pick(page);
  await page.getByRole('button', {name: 'Send the form'}).click();
  await saved(page, world.abroad);
});
