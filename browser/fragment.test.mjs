// Tests that the fragment of an address is still there after the sign-in, and that no server ever sees it.
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

// arrived waits until a page of an application shows that user, and compares its address.
async function arrived(page, target, user = 'ada') {
  await page.locator('#asked').waitFor().catch(async () => assert.fail(`ended at ${page.url()}: ${await page.locator('body').innerText()}`));
  assert.equal(await page.locator('h1').innerText(), user);
  assert.equal(page.url(), target);
}

test('arrives after an interactive sign-in', {timeout: 60_000}, async t => {
  const page = await (await newPerson(t, browser)).newPage();
  const target = world.reports + '/app?org=1#/discover?_g=(a:b)&secret=s3cret';
  const sent = [];
  page.on('request', request => sent.push(request.url().split('#')[0], request.postData() ?? '', JSON.stringify(request.headers())));
  await page.goto(target);
  await pick(page);
  await arrived(page, target);
  assert.ok(sent.length > 6, sent.join('\n'));
  assert.ok(!sent.join('\n').includes('s3cret'), 'the fragment was sent to a server');
  await page.goto(world.wiki + '/x#second');
  await arrived(page, world.wiki + '/x#second');
});

test('without a fragment, none is added', {timeout: 60_000}, async t => {
  const page = await (await newPerson(t, browser)).newPage();
  await page.goto(world.reports + '/first#one');
  await page.goto(world.reports + '/second'); // of the same tab, which keeps the other fragment
  await pick(page);
  await arrived(page, world.reports + '/second');
});

test('every tab keeps its own', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  const targets = Array.from({length: 5}, (_, i) => `${i % 2 ? world.wiki : world.reports}/tab/${i}#part-${i}`);
  const pages = [];
  for (const target of targets) {
    pages.push(await context.newPage());
    await pages.at(-1).goto(target);
  }
  for (const i of [4, 1, 0, 3, 2]) await pick(pages[i]);
  for (const [i, target] of targets.entries()) await arrived(pages[i], target);
});

test('arrives where the provider asks nothing', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  const page = await context.newPage();
  await page.goto(world.provider.site + '/authorize?redirect_uri=' + encodeURIComponent(world.lobby + '/'));
  await pick(page);
  await page.waitForURL(world.lobby + '/**');
  await page.goto(world.reports + '/silent#part');
  await arrived(page, world.reports + '/silent#part');
  await page.goBack();
  assert.match(page.url(), /^http:\/\/lobby\./, 'the pages in between are not in the history');
});

test('without scripts, the page arrives as it did', {timeout: 60_000}, async t => {
  const context = await browser.newContext({javaScriptEnabled: false});
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(world.reports + '/plain?a=b#part');
  await pick(page);
  await page.locator('#asked').waitFor();
  assert.equal(page.url().split('#')[0], world.reports + '/plain?a=b');
});

test('without storage, the page arrives as it did', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  await context.addInitScript(() => Object.defineProperty(window, 'sessionStorage', {get() { throw new DOMException('denied', 'SecurityError'); }}));
  const page = await context.newPage();
  await page.goto(world.reports + '/plain?a=b#part');
  await pick(page);
  await page.locator('#asked').waitFor();
  assert.equal(page.url().split('#')[0], world.reports + '/plain?a=b');
});

test('a hostile fragment runs nothing', {timeout: 60_000}, async t => {
  const page = await (await newPerson(t, browser)).newPage();
  page.on('dialog', () => assert.fail('a script ran'));
  const errors = [];
  page.on('console', message => message.type() === 'error' && errors.push(message.text()));
  for (const fragment of ['"><img src=x onerror=alert(1)>', 'javascript:alert(1)', '//evil.example/', '.f&state=x', '$&$1', '%00%0d%0a', 'x'.repeat(100_000)]) {
    const other = await (await newPerson(t, browser)).newPage();
    other.on('dialog', () => assert.fail('a script ran'));
    await other.goto(world.reports + '/x#' + fragment);
    const hash = await other.evaluate(text => new URL('http://a/#' + text).hash, fragment);
    await pick(other);
    await arrived(other, world.reports + '/x' + hash);
  }
  assert.deepEqual(errors, []);
});

test('another account keeps it', {timeout: 60_000}, async t => {
  const page = await (await newPerson(t, browser)).newPage();
  const target = world.reports + '/x#part';
  await page.goto(target);
  await pick(page, 'grace');
  await page.getByText('You may not open this').waitFor();
  await page.getByRole('link', {name: 'Use another account'}).click();
  await pick(page);
  await arrived(page, target);
});

test('a login that was lost keeps it', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  const page = await context.newPage();
  const target = world.reports + '/x#part';
  await page.goto(target);
  await context.clearCookies({name: /flow/});
  await pick(page);
  await page.getByRole('link', {name: 'Sign in again'}).click();
  await arrived(page, target);
});
