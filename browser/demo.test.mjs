// Tests the demo as a person uses it: a real Sallyport in a real Chromium.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {launchBrowser, newPerson as openContext, patience, spawnSallyport, stop} from './harness.mjs';

const ada = 'ada.lovelace@castle-works.example';
let demo, start, browser, logged = '';

before(async () => {
  [demo, start] = await startDemo();
  browser = await launchBrowser();
}, {timeout: 120_000});

after(async () => {
  await browser?.close();
  await stop(demo);
});

// startDemo runs `sallyport demo` and waits for the address of its start page.
function startDemo() {
  const child = spawnSallyport('demo');
  return new Promise((resolve, reject) => {
    let said = '';
    const hear = data => {
      said += data;
      const address = /http:\/\/127\.0\.0\.1:\d+\/(?=[\s"]|$)/.exec(said);
      if (address) resolve([child, address[0]]);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', data => logged += data);
    child.stderr.on('data', hear);
    child.on('exit', code => reject(new Error(`the demo ended with ${code}:\n${said}`)));
    child.on('error', reject);
  });
}

const newPerson = t => openContext(t, browser);

// open follows the link of the start page that has this text.
async function open(context, link) {
  const page = await context.newPage();
  await page.goto(start);
  await page.goto(await page.getByRole('link', {name: link, exact: true}).first().getAttribute('href'));
  return page;
}

const pick = (page, name) => page.getByRole('button', {name: new RegExp('^\\S*\\s*' + name)}).click();
const clockIs = (page, state) => page.waitForSelector(`#dash[data-state=${state}]`, {timeout: patience});
const tenantButton = (page, user, act) => page.locator(`[data-person="${user}"] [data-act=${act}]`);

// ticks waits until the clock shows another time than it does now.
async function ticks(page) {
  await clockIs(page, 'ticking');
  const shown = await page.textContent('#clock');
  await page.waitForFunction(before => document.getElementById('clock').textContent !== before, shown);
}

test('offboard: stops the clock; restore: allows a new login', {timeout: 90_000}, async t => {
  const context = await newPerson(t);
  const clock = await open(context, 'Open the clock');
  await pick(clock, 'Ada Lovelace');
  await ticks(clock);
  assert.match(clock.url(), /^http:\/\/clock\.localhost:\d+\/$/, 'she came back to where she wanted to go');

  const tenant = await context.newPage();
  await tenant.goto(start + 'tenant');
  await tenantButton(tenant, ada, 'offboard').click();
  const verdict = tenant.locator('[data-stopped]').first();
  await verdict.waitFor();
  const took = Number(await verdict.getAttribute('data-stopped'));
  t.diagnostic(`the clock stopped ${took} ms after the push left`);
  assert.ok(took > 0, 'the tenant says how long it took');
  await clockIs(clock, 'stopped');

  const reload = await clock.reload();
  assert.equal(reload.status(), 403, 'a reload is denied');
  await clock.getByText('Ada Lovelace').waitFor();
  assert.equal(await clock.locator('#clock').count(), 0);

  await tenantButton(tenant, ada, 'restore').click();
  await tenantButton(tenant, ada, 'offboard').waitFor();
  await clock.reload();
  await pick(clock, 'Ada Lovelace'); // the old session stays ended: she has to sign in
  await ticks(clock);
});

test('offboard: an offboarded person cannot sign in', {timeout: 60_000}, async t => {
  const context = await newPerson(t);
  const tenant = await context.newPage();
  await tenant.goto(start + 'tenant');
  const katherine = 'katherine.johnson@castle-works.example';
  await tenantButton(tenant, katherine, 'offboard').click();
  await tenantButton(tenant, katherine, 'restore').waitFor();
  const whoami = await open(context, 'Who am I?');
  await pick(whoami, 'Katherine Johnson');
  await whoami.waitForURL(url => url.pathname === '/.sallyport/callback');
  assert.equal(await whoami.locator('#verdict').count(), 0);
  await tenantButton(tenant, katherine, 'restore').click();
  await tenantButton(tenant, katherine, 'offboard').waitFor();
});

test('move: stops the clock and shows the reason', {timeout: 60_000}, async t => {
  const context = await newPerson(t);
  const clock = await open(context, 'Open the clock');
  await pick(clock, 'Grace Hopper');
  await ticks(clock);
  const tenant = await context.newPage();
  await tenant.goto(start + 'tenant');
  await tenant.getByLabel('Move Grace Hopper to another team').selectOption('Finance');
  await clockIs(clock, 'stopped');
  const reload = await clock.reload();
  assert.equal(reload.status(), 403);
  await clock.getByText('operations@castle-works.example').waitFor();
  await tenant.getByLabel('Move Grace Hopper to another team').selectOption('Operations');
  while ((await clock.goto(clock.url())).status() !== 200); // until the push has taken effect
  await ticks(clock);
});

let shortly; // a clock that somebody may watch for a minute, and until when

test('request: gives access for a minute', {timeout: 60_000}, async () => {
  const [asker, approver] = [await browser.newContext(), await browser.newContext()];
  const clock = await open(asker, 'Open the clock');
  await pick(clock, 'Katherine Johnson');
  await clock.getByLabel('Why do you need it?').fill('A look at the time.');
  await clock.getByRole('button', {name: 'Request access'}).click();
  const request = await clock.getByRole('link', {name: 'See your request'}).getAttribute('href');

  const page = await approver.newPage();
  await page.goto(request);
  await pick(page, 'Grace Hopper');
  await page.getByLabel('For how long?').evaluate(field => field.options[field.selectedIndex].value = '1m');
  await page.getByRole('button', {name: 'Approve'}).click();
  const end = Date.now() + 60_000;
  await page.getByText('1 minute left').waitFor();
  await approver.close();

  await clock.getByRole('link', {name: 'Back to what you asked for'}).click();
  await ticks(clock);
  const stopped = clock.evaluate(() => new Promise(done => new MutationObserver(() => {
    if (document.getElementById('dash').dataset.state === 'stopped') done(Date.now());
  }).observe(document.getElementById('dash'), {attributes: true})));
  shortly = {asker, clock, end, stopped};
});

test('deny: a member of another team sees who they are signed in as', {timeout: 60_000}, async t => {
  const page = await open(await newPerson(t), 'Open the clock');
  await pick(page, 'Alan Turing');
  await page.getByText('Alan Turing').first().waitFor();
  assert.equal(await page.locator('#clock').count(), 0);
  await page.getByText('operations@castle-works.example').waitFor();
});

test('request: gives access for a while when somebody else approves, and the end stops the clock', {timeout: 60_000}, async t => {
  const clock = await open(await newPerson(t), 'Open the clock');
  await pick(clock, 'Alan Turing');
  await clock.getByLabel('Why do you need it?').fill('I stand in for Ada.');
  await clock.getByRole('button', {name: 'Request access'}).click();
  await clock.getByRole('heading', {name: 'Your request was sent'}).waitFor();
  const request = await clock.getByRole('link', {name: 'See your request'}).getAttribute('href');

  const own = await (await newPerson(t)).newPage(); // a second browser of his
  await own.goto(request);
  await pick(own, 'Alan Turing');
  await own.getByRole('heading', {name: 'Your request for access'}).waitFor();
  await own.getByText('Waiting', {exact: true}).waitFor();
  assert.equal(await own.getByRole('button', {name: /Approve|Deny/}).count(), 0, 'he may not decide himself');

  const page = await (await newPerson(t)).newPage();
  await page.goto(new URL('/', request).href);
  await pick(page, 'Grace Hopper');
  await page.getByRole('link', {name: '1 request waits for your decision'}).click();
  await page.getByRole('link', {name: 'clock for Alan Turing'}).click();
  await page.getByText('I stand in for Ada.').waitFor();
  for (const width of [1280, 375]) {
    await page.setViewportSize({width, height: 900});
    assert.equal(await overflow(page), 0, `${page.url()} at ${width}`);
  }
  await page.getByLabel('For how long?').selectOption('15 minutes');
  await page.getByLabel('For how long?').press('Tab');
  await page.keyboard.press('Enter'); // on the button Approve
  await page.getByText('15 minutes left').waitFor();

  await clock.getByRole('link', {name: 'Back to what you asked for'}).click();
  await ticks(clock);
  await page.getByLabel('Why should it end?').fill('Ada is back.');
  await page.getByRole('button', {name: 'End the access now'}).click();
  const pressed = Date.now();
  await clockIs(clock, 'stopped');
  t.diagnostic(`the clock stopped within ${Date.now() - pressed} ms`);
  assert.equal((await clock.reload()).status(), 403);
  await clock.getByRole('button', {name: 'Request access'}).waitFor();
  await own.reload();
  await own.getByText(/Ended early by grace\.hopper.*: Ada is back\./).waitFor();
});

test('whoami: shows identity headers and a verified assertion', {timeout: 60_000}, async t => {
  const page = await open(await newPerson(t), 'Who am I?');
  await pick(page, 'Katherine Johnson');
  await page.getByRole('heading', {name: 'Katherine Johnson'}).waitFor();
  assert.match(await page.textContent('#verdict'), /are good/);
  assert.match(await page.textContent('body'), /not here: it never reaches an application/);
});

test('sign out: ends the sessions of all applications', {timeout: 60_000}, async t => {
  const context = await newPerson(t);
  const clock = await open(context, 'Open the clock');
  await pick(clock, 'Ada Lovelace');
  await ticks(clock);
  const whoami = await open(context, 'Who am I?');
  await whoami.getByRole('heading', {name: 'Ada Lovelace'}).waitFor();
  await whoami.getByRole('link', {name: 'Sign out'}).click();
  await whoami.getByRole('button', {name: /sign out/i}).click();
  await clockIs(clock, 'stopped');
});

const background = face => face.evaluate(e => getComputedStyle(e).backgroundColor);

// overflow returns by how many pixels something on the page is wider than the window.
const overflow = page => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

test('start: logs no warning', () => assert.doesNotMatch(logged, /WARN|ERROR/));

test('pages: fit the window, also with SCIM details open', {timeout: 60_000}, async t => {
  const context = await newPerson(t);
  const tenant = await context.newPage();
  await tenant.goto(start + 'tenant');
  const alan = 'alan.turing@castle-works.example';
  await tenantButton(tenant, alan, 'offboard').click();
  await tenantButton(tenant, alan, 'restore').click();
  await tenantButton(tenant, alan, 'offboard').waitFor();
  await tenant.getByLabel('Name of the new person').fill('Wolfeschlegelsteinhausenbergerdorff Hubert Blaine');
  await tenant.getByRole('button', {name: 'Hire'}).click();
  await tenant.locator('.push h3', {hasText: 'Wolfeschlegelsteinhausenbergerdorff'}).waitFor();
  for (const summary of await tenant.locator('.push summary').all()) await summary.click();
  await tenant.locator('.push pre').first().waitFor();
  const signIn = await open(context, 'Open the clock');
  for (const width of [1280, 768, 375]) {
    for (const page of [tenant, signIn]) {
      await page.setViewportSize({width, height: 900});
      assert.equal(await overflow(page), 0, `${page.url()} at ${width}`);
    }
    const cut = await signIn.locator('.who > *').evaluateAll(all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent));
    assert.deepEqual(cut, [], `names and addresses are whole at ${width}`);
  }
});

test('pages: have a heading, and one picture of a person', {timeout: 60_000}, async t => {
  const context = await newPerson(t);
  const tenant = await context.newPage();
  await tenant.goto(start + 'tenant');
  await tenant.getByRole('heading', {level: 1}).waitFor();
  const clock = await open(context, 'Open the clock');
  const button = clock.getByRole('button', {name: /Ada Lovelace/});
  assert.equal(await background(tenant.locator(`[data-person="${ada}"] .face`)), await background(button.locator('.face')));
  await button.click();
  await clock.getByRole('heading', {level: 1, name: 'Clock'}).waitFor();
});

// It comes last, so that most of the minute is over.
test('request: access ends by itself, and stops the clock', {timeout: 120_000}, async t => {
  t.diagnostic(`the clock stopped ${await shortly.stopped - shortly.end} ms after a minute`);
  assert.equal((await shortly.clock.reload()).status(), 403);
  await shortly.asker.close();
});
