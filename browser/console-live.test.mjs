// Tests the pages that keep themselves up to date, in a real Chromium: live requests appear, are ended and disappear, and
// decisions appear, are found and explained.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {press} from './actions.mjs';
import {openCompany} from './company.mjs';
import {arrived, newPerson} from './harness.mjs';

const {company, as} = openCompany();
const wide = {viewport: {width: 1280, height: 900}};

// eve opens a page of the wiki as eve.
async function eve(t, path) {
  const page = await (await newPerson(t, company.browser)).newPage();
  await page.goto(company.wiki + path);
  await page.getByRole('button', {name: 'eve', exact: true}).click();
  await arrived(page, company.wiki + path);
  return page;
}

// opened waits until what a page of the wiki keeps open is open, or has been cut.
const opened = (page, id, state = 'open') => page.locator(`#${id}`, {hasText: state}).waitFor();

const row = (page, ...texts) => texts.reduce((rows, text) => rows.filter({hasText: text}), page.locator('#list tbody tr'));

test('live requests appear, are ended and disappear, without loading the page again', {timeout: 120_000}, async t => {
  const [grace, ada] = [await as(t, 'grace', '/live?person=eve', wide), await as(t, 'ada', '/live?person=eve', wide)];
  await grace.evaluate(() => { window.same = true; });
  const page = await eve(t, '/live');
  await Promise.all(['events', 'socket'].map(id => opened(page, id)));
  for (const viewer of [grace, ada]) {
    await row(viewer, 'GET /events', 'event stream', 'wiki[0]').waitFor();
    await row(viewer, 'GET /socket', 'WebSocket', 'wiki[0]').waitFor();
  }
  assert.equal(await grace.getByRole('button', {name: /^End/}).count(), 0, 'an auditor may end requests');

  await press(ada, row(ada, 'GET /socket').getByRole('button', {name: 'End the request of eve@castle.example to wiki'}));
  await ada.getByText('The request was ended.').waitFor();
  await opened(page, 'socket', 'cut');
  assert.equal(await page.locator('#events').textContent(), 'open', 'another request of the person was ended too');
  for (const viewer of [grace, ada]) await row(viewer, 'GET /socket').waitFor({state: 'detached'});

  await row(ada, 'GET /events').getByRole('link', {name: 'eve@castle.example'}).click();
  await press(ada, ada.getByRole('button', {name: 'End all of eve@castle.example'}));
  await opened(page, 'events', 'cut');
  await grace.getByText('No such request is under way.').waitFor();
  assert.equal(await grace.evaluate(() => window.same), true, 'the page was loaded again');
  assert.deepEqual([...grace.faults, ...ada.faults], []);
});

test('a list that is paused stays as it is, and goes on from there', {timeout: 90_000}, async t => {
  const [grace, ada] = [await as(t, 'grace', '/live?person=eve', wide), await as(t, 'ada', '/live?person=eve&kind=websocket', wide)];
  await grace.locator('.following').getByRole('button', {name: 'Pause'}).click();
  const page = await eve(t, '/live');
  await Promise.all(['events', 'socket'].map(id => opened(page, id)));
  await row(ada, 'GET /socket').waitFor();
  assert.equal(await row(ada, 'GET /events').count(), 0, 'the filter for WebSockets shows an event stream');
  assert.equal(await row(grace, 'GET /socket').count(), 0, 'a list that is paused goes on');
  await grace.getByRole('button', {name: 'Resume'}).click();
  await row(grace, 'GET /socket').waitFor();
  await page.close();
  await row(grace, 'GET /socket').waitFor({state: 'detached'});
  assert.deepEqual([...grace.faults, ...ada.faults], []);
});

test('a person who is suspended is cut, in the page that they have open', {timeout: 90_000}, async t => {
  const page = await eve(t, '/live');
  await Promise.all(['events', 'socket'].map(id => opened(page, id)));
  const ada = await as(t, 'ada', '/people?q=eve@castle.example');
  await ada.getByRole('link', {name: 'Eve Castellanos'}).first().click();
  await ada.getByLabel('Reason for a suspension').fill('a test');
  await press(ada, ada.getByRole('button', {name: 'Suspend'}));
  await Promise.all(['events', 'socket'].map(id => opened(page, id, 'cut')));
  await press(ada, ada.getByRole('button', {name: 'End the suspension'}));
});

test('a decision appears, is found by its number, and is explained by then and by now', {timeout: 120_000}, async t => {
  const grace = await as(t, 'grace', '/decisions?person=eve@castle.example&decision=deny', wide);
  await grace.evaluate(() => { window.same = true; });
  const page = await eve(t, '/'); // this is let in, and not in the list
  const response = await page.goto(company.wiki.replace('wiki', 'payroll') + '/salaries');
  assert.equal(response.status(), 403);
  const number = await page.locator('footer code').textContent();
  const denied = row(grace, '/salaries').first();
  await denied.waitFor();
  assert.match(await denied.innerText(), /eve@castle\.example[^]*denied[^]*no_rule[^]*payroll/);
  assert.equal(await row(grace, 'allowed').count(), 0, 'the filter for denials shows what was allowed');
  assert.equal(await grace.evaluate(() => window.same), true, 'the page was loaded again');

  await grace.getByRole('link', {name: 'Clear'}).click();
  await grace.getByLabel('Request number').fill(number);
  await grace.getByRole('button', {name: 'Filter'}).click();
  await grace.waitForURL(company.console + '/decisions/' + number); // a number leads to the decision itself
  const panel = name => grace.locator('section.panel').filter({has: grace.getByRole('heading', {name})});
  await panel('As it would be decided now').getByText('No rule lets them in.').waitFor();
  const json = await grace.evaluate(async () => (await fetch(location.pathname + '?format=json')).text());
  assert.match(JSON.stringify(JSON.parse(json)), new RegExp(`${number}[^]*no_rule`));

  await join(JSON.parse(await company.verb('token', 'create', 'test', '-o', 'json')).token, 'Payroll', 'eve@castle.example');
  await grace.reload();
  await panel('As it would be decided now').getByText('A rule lets them in, and none keeps them out.').waitFor();
  const show = grace.getByRole('link', {name: 'Show it'});
  if (await show.count()) await show.click();
  await panel('As it was decided').getByText('No rule lets them in.').waitFor();
  assert.deepEqual(grace.faults, []);
});

test('the page of a decision says who ended the request', {timeout: 90_000}, async t => {
  const page = await eve(t, '/live');
  await opened(page, 'socket');
  const ada = await as(t, 'ada', '/live?person=eve&kind=websocket', wide);
  const cell = row(ada, 'GET /socket').getByRole('link', {name: 'GET /socket'});
  const address = await cell.evaluate(link => link.href);
  await press(ada, row(ada, 'GET /socket').getByRole('button', {name: /^End/}));
  await ada.goto(address);
  await ada.locator('.notice.fault').filter({hasText: /It was let in, and ended at[^]*request_ended[^]*by ada@castle.example/}).waitFor();
});

// join pushes somebody into a group, as an identity provider does.
async function join(token, group, user) {
  const headers = {Authorization: 'Bearer ' + token, 'Content-Type': 'application/scim+json'};
  const find = async (kind, filter) => (await (await fetch(`${company.scim}/scim/v2/${kind}?filter=${encodeURIComponent(filter)}`, {headers})).json()).Resources[0].id;
  const [to, id] = [await find('Groups', `displayName eq "${group}"`), await find('Users', `userName eq "${user}"`)];
  const response = await fetch(`${company.scim}/scim/v2/Groups/${to}`, {method: 'PATCH', headers, body: JSON.stringify({
    schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'], Operations: [{op: 'Add', path: 'members', value: [{value: id}]}]})});
  assert.ok(response.ok, await response.text());
}
