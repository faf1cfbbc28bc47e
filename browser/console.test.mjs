// Tests the console in a browser, over a company of 5,000 people: who may look, who may act, and that every page can be read.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {openCompany} from './company.mjs';
import {crawl, hidden, overflow, violations} from './crawl.mjs';

const {company, as} = openCompany();

test('an administrator can read every page, in the light, in the dark and on a phone', {timeout: 300_000}, async t => {
  const page = await as(t, 'ada', '/', {viewport: {width: 1280, height: 900}});
  const faults = [];
  const {pages, errors} = await crawl(page, company.console, async (page, name, response) => {
    if (response.status() !== 200) faults.push(`${name}: ${page.url()} gets ${response.status()}`);
    if (!await page.locator('h1').first().isVisible()) faults.push(`${name}: no heading`);
    const cut = await hidden(page);
    if (cut > 24) faults.push(`${name}: a table has ${cut} pixels that do not fit`);
    faults.push(...(await violations(page)).map(v => `${name}: ${v}`));
    await page.emulateMedia({colorScheme: 'dark'});
    faults.push(...(await violations(page, ['color-contrast'])).map(v => `${name} in the dark: ${v}`));
    await page.setViewportSize({width: 375, height: 800});
    const over = await overflow(page);
    if (over > 0) faults.push(`${name}: ${over} pixels wider than a phone`);
    await page.setViewportSize({width: 1280, height: 900});
    await page.emulateMedia({colorScheme: 'light'});
  });
  assert.deepEqual([...faults, ...errors], []);
  for (const want of ['', 'live', 'decisions', 'people', 'people/*', 'groups', 'groups/*', 'routes', 'routes/*', 'policy', 'provisioning', 'requests', 'reviews', 'record', 'configuration']) {
    assert.ok(pages.includes(want), `no page ${want} among ${pages}`);
  }
});

test('an auditor can read every page without scripts, and change nothing', {timeout: 300_000}, async t => {
  const page = await as(t, 'grace', '/', {javaScriptEnabled: false});
  const faults = [];
  await crawl(page, company.console, async (page, name, response) => {
    if (response.status() !== 200) faults.push(`${name}: ${page.url()} gets ${response.status()}`);
    if (await page.locator('main form[method=post]').count() > 0) faults.push(`${name}: has a form that acts`);
    if (!await page.locator('main').isVisible() || (await page.locator('main').innerText()).length < 40) faults.push(`${name}: has nothing to read`);
  });
  assert.deepEqual(faults, []);
});

test('whoever has neither right reads nothing', {timeout: 60_000}, async t => {
  const page = await as(t, 'eve');
  for (const path of ['/', '/people', '/live', '/record?format=json']) {
    assert.equal((await page.goto(company.console + path)).status(), 403, path);
  }
});

test('an administrator suspends somebody, and the command line says so', {timeout: 60_000}, async t => {
  const page = await as(t, 'ada', '/people?q=eve');
  await page.getByRole('link', {name: 'Eve Castellanos'}).click();
  await page.getByLabel(/reason/i).first().fill('she lost her laptop');
  await page.getByRole('button', {name: 'Suspend'}).click();
  await page.getByRole('status').first().waitFor();
  assert.match(await company.verb('users', 'show', 'eve@castle.example'), /she lost her laptop/);
  await page.getByRole('button', {name: /Unsuspend|suspension/}).click();
  await page.getByRole('status').first().waitFor();
  assert.doesNotMatch(await company.verb('users', 'show', 'eve@castle.example'), /she lost her laptop/);
});

// The last one: from then on ada is no administrator.
test('whoever loses the group while they look reads no more', {timeout: 60_000}, async t => {
  const page = await as(t, 'ada', '/live');
  await page.getByRole('cell', {name: 'event stream'}).first().waitFor();
  const {token} = JSON.parse(await company.verb('token', 'create', 'test', '-o', 'json'));
  const headers = {Authorization: 'Bearer ' + token, 'Content-Type': 'application/scim+json'};
  const find = async (kind, filter) => (await (await fetch(`${company.scim}/scim/v2/${kind}?filter=${encodeURIComponent(filter)}`, {headers})).json()).Resources[0].id;
  const [group, user] = [await find('Groups', 'displayName eq "Administrators"'), await find('Users', 'userName eq "ada@castle.example"')];
  const removed = await fetch(`${company.scim}/scim/v2/Groups/${group}`, {method: 'PATCH', headers, body: JSON.stringify({
    schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'], Operations: [{op: 'Remove', path: `members[value eq "${user}"]`}]})});
  assert.ok(removed.ok, await removed.text());
  await page.getByRole('cell', {name: 'event stream'}).first().waitFor({state: 'detached'});
  assert.equal((await page.goto(company.console + '/people')).status(), 403);
});
