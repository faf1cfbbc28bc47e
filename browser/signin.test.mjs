// Tests that signing in ends where the person wanted to go: many tabs and frames at once, the back button, a tab that
// waits at the provider, cookies that are lost on the way.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {launchBrowser, newPerson, patience} from './harness.mjs';
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

// signInAtProvider gives the person a session at the provider, and none here.
async function signInAtProvider(context, user = 'ada') {
  const page = await context.newPage();
  await page.goto(world.provider.site + '/authorize?redirect_uri=' + encodeURIComponent(world.lobby + '/'));
  await page.getByRole('button', {name: user}).click();
  await page.waitForURL(world.lobby + '/**');
  await page.close();
}

const provider = page => page.getByRole('heading', {name: 'Who are you?'});
const pick = (page, user = 'ada') => page.getByRole('button', {name: user, exact: true}).click();

// short keeps long addresses readable in failures, and different ones different.
const short = text => text.length < 300 ? text : `${text.slice(0, 200)}…${text.slice(-20)} (${text.length} bytes)`;

// arrived waits until a page or a frame shows what was asked for.
async function arrived(page, target, user = 'ada') {
  const {pathname, search} = new URL(target);
  try {
    await page.locator('#asked').waitFor({timeout: patience});
  } catch {
    assert.fail(`${short(target)} ended at ${short(page.url())}: ${await page.locator('body').innerText()}`);
  }
  assert.equal(short(await page.locator('#asked').innerText()), short(pathname + search));
  assert.equal(await page.locator('h1').innerText(), user);
  assert.equal(short(page.url()), short(target));
}

const targets = (origin, n, query = '') => Array.from({length: n}, (_, i) => `${origin}/tab/${i}?of=${n}&text=a%20b%26c${query}`);

// openTabs opens one tab for each target, all at once.
async function openTabs(context, all) {
  const pages = await Promise.all(all.map(() => context.newPage()));
  await Promise.all(all.map((target, i) => pages[i].goto(target)));
  return pages;
}

for (const n of [2, 5, 14]) {
  test(`${n} tabs without cookies arrive`, {timeout: 60_000}, async t => {
    const context = await newPerson(t, browser);
    await signInAtProvider(context);
    const all = targets(world.reports, n);
    const pages = await openTabs(context, all);
    await Promise.all(pages.map((page, i) => arrived(page, all[i])));
  });

  test(`${n} tabs with a sign-in form each arrive, the last one first`, {timeout: 90_000}, async t => {
    const context = await newPerson(t, browser);
    const all = targets(world.reports, n);
    const pages = await openTabs(context, all);
    for (const page of pages) await provider(page).waitFor();
    for (const [i, page] of [...pages.entries()].reverse()) {
      await pick(page);
      await arrived(page, all[i]);
    }
  });

  test(`${n} sign-in forms that are sent at once arrive`, {timeout: 90_000}, async t => {
    const context = await newPerson(t, browser);
    const all = targets(world.reports, n);
    const pages = await openTabs(context, all);
    for (const page of pages) await provider(page).waitFor();
    await Promise.all(pages.map(page => pick(page)));
    await Promise.all(pages.map((page, i) => arrived(page, all[i])));
  });

  test(`${n} tabs of a second application arrive`, {timeout: 60_000}, async t => {
    const context = await newPerson(t, browser);
    await signInAtProvider(context);
    const first = await context.newPage();
    await first.goto(world.reports + '/first');
    await arrived(first, world.reports + '/first');
    const all = targets(world.wiki, n);
    const pages = await openTabs(context, all);
    await Promise.all(pages.map((page, i) => arrived(page, all[i])));
    await first.reload();
    await arrived(first, world.reports + '/first');
  });
}

test('tabs of two applications and the portal at once arrive', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  await signInAtProvider(context);
  const all = [...targets(world.reports, 5), ...targets(world.wiki, 5)];
  const portal = await context.newPage();
  const [pages] = await Promise.all([openTabs(context, all), portal.goto(world.login + '/')]);
  await Promise.all(pages.map((page, i) => arrived(page, all[i])));
  await portal.getByText('ada').first().waitFor();
  assert.equal(portal.url(), world.login + '/');
});

// dashboard returns a query as dashboards have it, of about so many bytes.
function dashboard(length) {
  let query = '';
  for (let i = 0; query.length < length; i++) query += `&panel-${i}=rate(http_requests_total%7Bpod%3D~%22pod-${i * i}%22%7D%5B5m%5D)`;
  return query;
}

for (const [length, n] of [[700, 5], [3_000, 5], [7_000, 14]]) {
  test(`${n} tabs with addresses of ${length} bytes arrive`, {timeout: 60_000}, async t => {
    const context = await newPerson(t, browser);
    const all = targets(world.reports, n, dashboard(length));
    const pages = await openTabs(context, all);
    for (const page of pages) await provider(page).waitFor();
    for (const [i, page] of pages.entries()) {
      await pick(page);
      await arrived(page, all[i]);
    }
  });
}

test('a page of frames without cookies: all arrive', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  await signInAtProvider(context);
  const all = [...targets(world.reports, 8), ...targets(world.wiki, 6)];
  const page = await context.newPage();
  await page.goto(world.lobby + '/frames?' + new URLSearchParams(all.map(target => ['frame', target])));
  await framesArrived(page, all);
});

test('a page of frames of its own application: all arrive', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  const all = [...targets(world.reports, 6), ...targets(world.wiki, 6)];
  const page = await context.newPage();
  await page.goto(world.reports + '/frames?' + new URLSearchParams(all.map(target => ['frame', target])));
  await pick(page);
  await framesArrived(page, all);
});

async function framesArrived(page, all) {
  await page.locator('iframe').nth(all.length - 1).waitFor(); // they come one after the other
  const elements = await page.locator('iframe').elementHandles();
  assert.equal(elements.length, all.length);
  const frames = await Promise.all(elements.map(element => element.contentFrame()));
  await Promise.all(frames.map((frame, i) => arrived(frame, all[i])));
}

test('the back button after signing in leads to the page again', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  const target = world.reports + '/wanted?report=7';
  const page = await context.newPage();
  await page.goto(target);
  await pick(page);
  await arrived(page, target);
  await page.goBack(); // to the provider's page, which redirects with a state that was used
  await arrived(page, target);
});

test('a form of the provider that is sent twice leads to the page', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  const target = world.reports + '/wanted?report=8';
  const page = await context.newPage();
  await page.goto(target);
  const form = page.url();
  await pick(page);
  await arrived(page, target);
  await context.clearCookies({name: 'provider'});
  await page.goto(form);
  await pick(page);
  await arrived(page, target);
});

test('a tab that waits at the provider arrives after all others', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  const target = world.reports + '/patient?report=9';
  const waits = await context.newPage();
  await waits.goto(target);
  await provider(waits).waitFor();
  for (let round = 0; round < 4; round++) { // more logins than the cookies of flows have room for
    const all = targets(world.wiki, 6, '&round=' + round);
    await context.clearCookies({name: 'provider'});
    await context.clearCookies({name: '__Host-sallyport'});
    const pages = await openTabs(context, all);
    for (const page of pages) await provider(page).waitFor();
    await Promise.all(pages.map(page => pick(page)));
    await Promise.all(pages.map((page, i) => arrived(page, all[i])));
    for (const page of pages) await page.close();
  }
  await pick(waits);
  await arrived(waits, target);
});

// retry presses the button of a page that says why signing in did not work.
const retry = page => page.getByRole('link', {name: /sign in|again/i}).first().click();

test('cookies lost at the provider: one button leads to the page', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  const target = world.reports + '/lost?report=10&text=a%20b';
  const page = await context.newPage();
  await page.goto(target);
  await provider(page).waitFor();
  await context.clearCookies();
  await pick(page);
  await page.getByRole('heading', {name: 'Signing in did not work'}).waitFor();
  await retry(page);
  await arrived(page, target);
});

for (const path of ['login', 'accept']) {
  test(`cookies lost before ${path}: the page is reached`, {timeout: 60_000}, async t => {
    const context = await newPerson(t, browser);
    await signInAtProvider(context);
    const target = world.reports + '/lost?report=11&text=a%20b';
    const page = await context.newPage();
    let lost = false;
    await page.route(url => url.pathname === '/.sallyport/' + path && url.host === new URL(world.reports).host, async route => {
      if (!lost) await context.clearCookies({domain: 'reports.castle.localhost'});
      lost = true;
      await route.continue();
    });
    await page.goto(target);
    if (path === 'accept' && await page.locator('#asked').count() === 0) await retry(page);
    await arrived(page, target);
  });
}

test('sessions of applications lost: their tabs go on', {timeout: 60_000}, async t => {
  const context = await newPerson(t, browser);
  await signInAtProvider(context);
  const all = targets(world.reports, 5);
  const pages = await openTabs(context, all);
  await Promise.all(pages.map((page, i) => arrived(page, all[i])));
  await context.clearCookies({domain: 'reports.castle.localhost'});
  await Promise.all(pages.map(page => page.reload()));
  await Promise.all(pages.map((page, i) => arrived(page, all[i])));
});
