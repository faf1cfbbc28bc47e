// Tests the portal, a person's own sessions, and the ways on from refusals, in a real Chromium. PICTURES names a folder for
// pictures of the pages, to look at.
import assert from 'node:assert/strict';
import {writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import {after, before, test} from 'node:test';
import {overflow, violations} from './crawl.mjs';
import {launchBrowser, newPerson} from './harness.mjs';
import {World} from './world.mjs';

const svg = color => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><rect width="40" height="40" rx="9" fill="${color}"/><circle cx="20" cy="20" r="9" fill="#fff"/></svg>`;
const long = 'Wolfeschlegelsteinhausenbergerdorff Configuration Management Database of the Northern Branch';

// BrandedWorld has a portal with many applications, or few.
class BrandedWorld extends World {
  constructor(applications) { super(); this.applications = applications; }

  config(...ports) {
    const upstream = this.upstream.address().port;
    const tile = {
      1: ', portal: {title: Grafana, description: "Dashboards and alerts of everything that runs", group: Observability, icon: icon.svg}',
      2: ', portal: {title: Loki, description: Logs, group: Observability}',
      3: `, portal: {title: "${long.slice(0, 60)}", description: "${long} ${long}", group: Business}`,
    };
    let more = '';
    for (let i = 1; i <= this.applications; i++) {
      const portal = tile[i] ?? `, portal: {title: "Application ${i}", group: ${i % 3 ? 'Business' : 'Observability'}}`;
      more += `  - {name: app-${i}, host: app-${i}.castle.localhost, upstream: "http://127.0.0.1:${upstream}", policy: [staff]${i === 2 ? '' : `, owner: team-${i}@castle.example`}${portal}}\n`;
    }
    more += `  - {name: secret, host: secret.castle.localhost, upstream: "http://127.0.0.1:${upstream}", policy: [staff], portal: {hidden: true}}\n`;
    more += `  - {name: ledger, host: ledger.castle.localhost, upstream: "http://127.0.0.1:${upstream}", policy: [ledger], portal: {title: Ledger, description: Invoices}}\n`;
    return super.config(...ports).replace('policies:\n', `contact: help@castle.example
brand: {title: Castle Works, logo: logo.svg, color: "#0f5f58"}
policies:
  - name: ledger
    rules: [{allow: {users: [nobody]}}]
    requestable: {by: {anyone: true}, approvers: {manager: true, groups: [{id: 61503835-0000-0000-0000-000000000002, name: Admins}]}, max: 4h, reason: required}
`).replace('user_attribute: externalId}', 'user_attribute: externalId}\nsession: {lifetime: 12h}') + more;
  }

  // prepare writes the pictures beside the configuration.
  async prepare() {
    await writeFile(join(this.folder, 'icon.svg'), svg('#f05a28'));
    await writeFile(join(this.folder, 'logo.svg'), svg('#0f5f58'));
  }
}

const many = new BrandedWorld(60), few = new BrandedWorld(3);
let browser;

before(async () => {
  await Promise.all([many.start(), few.start()]);
  browser = await launchBrowser();
}, {timeout: 120_000});

after(async () => {
  await browser?.close();
  await Promise.all([many.stop(), few.stop()]);
});

const pick = (page, user = 'ada') => page.getByRole('button', {name: user, exact: true}).click();

// signIn opens the portal as a person.
async function signIn(context, world, user = 'ada') {
  const page = await context.newPage();
  const errors = page.errors = [];
  page.on('console', message => { if (message.type() === 'error' && !/status of [45]\d\d/.test(message.text())) errors.push(message.text()); });
  page.on('pageerror', error => errors.push(String(error)));
  await page.goto(world.login + '/');
  await pick(page, user);
  await page.getByRole('heading', {name: 'Your applications'}).waitFor();
  return page;
}

// examine checks a page in light and dark, wide and narrow, and takes its picture.
async function examine(page, name) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({colorScheme});
    for (const width of [1280, 375]) {
      await page.setViewportSize({width, height: 900});
      if (process.env.PICTURES) await page.screenshot({path: join(process.env.PICTURES, `${name}-${colorScheme}-${width}.png`), fullPage: true});
      assert.deepEqual((await violations(page)).slice(0, 3), [], `${name}, ${colorScheme}, ${width}`);
      assert.equal(await overflow(page), 0, `${name} at ${width}`);
    }
  }
  await page.emulateMedia({colorScheme: 'light'});
  await page.setViewportSize({width: 1280, height: 900});
  assert.deepEqual(page.errors ?? [], []);
}

test('the portal shows applications in groups, with icons', {timeout: 60_000}, async t => {
  const page = await signIn(await newPerson(t, browser), many);
  assert.equal(await page.title(), 'Your applications · Castle Works');
  assert.deepEqual(await page.locator('h2').allTextContents(), ['Observability', 'Business', 'Other applications', 'You may ask for access']);
  const icon = page.locator('#app-app-1 img');
  assert.ok(await icon.evaluate(img => img.decode().then(() => img.naturalWidth > 0)), 'the icon is shown');
  assert.ok(await page.locator('header img').evaluate(img => img.decode().then(() => img.naturalWidth > 0)), 'the logo is shown');
  assert.equal(await page.getByText('secret').count(), 0);
  await page.getByRole('link', {name: /^Grafana/}).click();
  await page.waitForURL('http://app-1.castle.localhost:*/**');
  await page.goto(many.login + '/');
  await page.locator('#app-app-1').getByText('Used just now').waitFor();
  await examine(page, 'portal-many');
});

test('the portal with three applications', {timeout: 60_000}, async t => {
  const page = await signIn(await newPerson(t, browser), few);
  await examine(page, 'portal-few');
});

test('the portal without any application', {timeout: 60_000}, async t => {
  const page = await signIn(await newPerson(t, browser), few, 'grace');
  await examine(page, 'portal-none');
});

test('the search finds applications by what is written of them', {timeout: 60_000}, async t => {
  const page = await signIn(await newPerson(t, browser), many);
  const tiles = () => page.locator('.tile:visible').count();
  await page.keyboard.press('/');
  await page.keyboard.type('DASHBÓARDS');
  assert.equal(await tiles(), 1);
  await page.getByRole('status').getByText('1 application').waitFor({state: 'attached'});
  if (process.env.PICTURES) await page.screenshot({path: join(process.env.PICTURES, 'portal-search.png')});
  await page.getByLabel('Search your applications').fill('application 5 business');
  assert.ok(await tiles() > 1);
  await page.getByLabel('Search your applications').fill('nothing of that name');
  await page.getByText('No application is called so.').waitFor();
  await page.keyboard.press('Escape');
  assert.ok(await tiles() > 60);
  await page.keyboard.type('app-17.');
  await page.keyboard.press('Enter');
  await page.waitForURL('http://app-17.castle.localhost:*/**');
});

test('without JavaScript everything is listed, and can be pinned', {timeout: 60_000}, async t => {
  const context = await browser.newContext({javaScriptEnabled: false});
  t.after(() => context.close());
  const page = await signIn(context, many);
  assert.ok(await page.locator('.tile:visible').count() > 60);
  assert.equal(await page.getByLabel('Search your applications').isVisible(), false);
  await page.getByRole('button', {name: 'Pin Application 42'}).click();
  await page.getByRole('heading', {name: 'Pinned'}).waitFor();
  await page.getByRole('button', {name: 'Unpin Application 42'}).click();
  await page.getByRole('button', {name: 'Pin Application 42'}).waitFor();
  assert.equal(await page.getByRole('heading', {name: 'Pinned'}).count(), 0);
});

test('pins are the person’s, by the keyboard too', {timeout: 60_000}, async t => {
  const page = await signIn(await newPerson(t, browser), many, 'eve');
  await page.getByRole('button', {name: 'Pin Loki'}).press('Enter');
  await page.getByRole('button', {name: 'Unpin Loki'}).waitFor();
  assert.deepEqual((await page.locator('h2').allTextContents()).slice(0, 2), ['Pinned', 'Observability']);
  const elsewhere = await signIn(await newPerson(t, browser), many, 'eve');
  await elsewhere.getByRole('button', {name: 'Unpin Loki'}).waitFor();
  const other = await signIn(await newPerson(t, browser), many);
  assert.equal(await other.getByRole('button', {name: 'Unpin Loki'}).count(), 0);
  await examine(page, 'portal-pinned');
});

test('a page of another site pins nothing and ends no session', {timeout: 60_000}, async t => {
  const page = await signIn(await newPerson(t, browser), few);
  for (const target of ['/.sallyport/pins', '/.sallyport/sessions', '/.sallyport/ask?route=ledger']) {
    await page.goto(few.abroad + '/form?to=' + encodeURIComponent(few.login + target));
    await page.locator('textarea').evaluate(field => { field.name = 'do'; field.value = 'all'; });
    await page.getByRole('button', {name: 'Save'}).click();
    await page.getByText('That came from another site').waitFor();
  }
  await page.goto(few.login + '/');
  await page.getByRole('heading', {name: 'Your applications'}).waitFor();
});

test('sessions can be ended, one and all others', {timeout: 60_000}, async t => {
  const [context, other, third] = [await newPerson(t, browser), await newPerson(t, browser), await newPerson(t, browser)];
  const page = await signIn(context, few, 'eve');
  const away = await signIn(other, few, 'eve');
  const alsoAway = await signIn(third, few, 'eve');
  await page.getByRole('link', {name: 'Where you are signed in'}).click();
  assert.equal(await page.locator('.sessions li').count(), 3);
  assert.match(await page.locator('.sessions li').first().innerText(), /Chrome on Linux\s+This browser/);
  assert.equal(await page.getByText('This browser').count(), 1);
  await examine(page, 'sessions');
  await page.getByRole('button', {name: 'End this session'}).first().click();
  await page.getByText('The session has ended.').waitFor();
  assert.equal(await page.locator('.sessions li').count(), 2);
  await page.getByRole('button', {name: 'End all other sessions'}).click();
  await page.getByText('All other sessions have ended.').waitFor();
  assert.equal(await page.locator('.sessions li').count(), 1);
  for (const gone of [away, alsoAway]) {
    const response = await gone.goto(few.login + '/');
    assert.ok(response.request().redirectedFrom(), 'the browser has to sign in again, which the provider does without a question');
  }
  await page.getByRole('button', {name: 'End all sessions, this one too'}).click();
  await page.getByRole('heading', {name: 'You are signed out'}).waitFor();
  await examine(page, 'signed-out');
});

test('access can be asked for from the portal', {timeout: 60_000}, async t => {
  const page = await signIn(await newPerson(t, browser), few, 'eve');
  await page.getByRole('link', {name: /^Ledger/}).click();
  await page.getByRole('heading', {name: 'Ask for access to Ledger'}).waitFor();
  await page.getByText('Nobody may approve it at the moment. Turn to').waitFor();
  await examine(page, 'ask');
});

test('a denial names whom to ask, and leads on', {timeout: 60_000}, async t => {
  const page = await signIn(await newPerson(t, browser), few, 'grace');
  await page.goto(`http://app-2.castle.localhost:${new URL(few.login).port}/`);
  await page.getByRole('link', {name: 'help@castle.example'}).waitFor();
  await page.getByRole('link', {name: 'Sign out'}).waitFor();
  await examine(page, 'denied');
  await page.getByRole('link', {name: 'Your applications'}).click();
  await page.getByRole('heading', {name: 'Your applications'}).waitFor();
  await page.goto(few.lobby + '/.sallyport/nothing');
  await page.getByRole('link', {name: 'Your applications'}).waitFor();
  await examine(page, 'not-found');
});

test('another account: by the chooser of the provider', {timeout: 60_000}, async t => {
  const page = await signIn(await newPerson(t, browser), few, 'grace');
  const target = `http://app-2.castle.localhost:${new URL(few.login).port}/board?x=1`;
  await page.goto(target);
  await page.getByRole('link', {name: 'Use another account'}).click();
  await page.getByRole('heading', {name: 'Who are you?'}).waitFor();
  await pick(page, 'ada');
  await page.waitForURL(target);
  assert.equal(await page.locator('h1').textContent(), 'ada');
});

test('another account: where the provider has no chooser, by signing out there', {timeout: 90_000}, async t => {
  const world = new BrandedWorld(3);
  world.provider.prompts = ['none', 'login', 'consent'];
  t.after(() => world.stop());
  await world.start();
  const page = await signIn(await newPerson(t, browser), world, 'grace');
  const target = `http://app-2.castle.localhost:${new URL(world.login).port}/board?x=1`;
  await page.goto(target);
  await page.getByRole('link', {name: 'Use another account'}).click();
  await page.getByRole('heading', {name: 'Use another account'}).waitFor();
  await examine(page, 'switch');
  await page.getByRole('button', {name: 'Sign out and use another account'}).click();
  await page.getByRole('heading', {name: 'Who are you?'}).waitFor();
  assert.equal(world.provider.signOuts.length, 1);
  await pick(page, 'ada');
  await page.waitForURL(target);
  assert.equal(await page.locator('h1').textContent(), 'ada');
});
