// Tests the palette, and the pages of people and groups, in a browser over a company of 5,000 people.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {openCompany} from './company.mjs';
import {overflow, violations} from './crawl.mjs';
import {newPerson} from './harness.mjs';

const {company, as} = openCompany();

// typed writes into the palette and waits for what is found for it.
async function typed(page, text, first) {
  await page.locator('#palette-text').fill(text);
  await page.locator('#palette-list [role=option]').first().filter({hasText: first}).waitFor();
}

test('the palette finds a person by the keyboard alone', {timeout: 90_000}, async t => {
  const page = await as(t, 'grace', '/people');
  const field = page.getByRole('combobox', {name: 'Find people, groups, routes, requests and pages'});
  for (const key of ['/', 'Control+k']) {
    await page.keyboard.press(key);
    await field.waitFor();
    assert.equal(await field.evaluate(e => e === document.activeElement), true);
    await page.keyboard.press('Escape');
    await field.waitFor({state: 'hidden'});
  }
  await page.keyboard.press('/');
  await typed(page, 'GRACE hop', 'Grace Hopper');
  assert.equal(await field.getAttribute('aria-expanded'), 'true');
  const active = await field.getAttribute('aria-activedescendant');
  assert.equal(await page.locator(`#${active}`).getAttribute('aria-selected'), 'true');
  assert.match(await page.locator('#palette-status').textContent(), /^\d+ found$/);
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press('ArrowDown');
  assert.notEqual(await field.getAttribute('aria-activedescendant'), active);
  await page.keyboard.press('ArrowUp');
  assert.equal(await field.getAttribute('aria-activedescendant'), active);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', {level: 1, name: 'Grace Hopper'}).waitFor();
  assert.deepEqual(page.faults, []);
});

test('the palette finds groups, routes, pages and numbers', {timeout: 90_000}, async t => {
  const page = await as(t, 'ada', '/people');
  await page.getByRole('searchbox', {name: 'Find people'}).click();
  for (const [text, first, kind] of [['all staff', 'All staff', 'Group'], ['grafana', 'grafana', ''], ['provisioning', 'Provisioning', 'Page'], ['0'.repeat(32), 'Request 00000000', 'Decision']]) {
    await typed(page, text, first);
    assert.match(await page.locator('#palette-list [role=option]').first().textContent(), new RegExp(kind));
  }
  await page.locator('#palette-text').fill('xyzzy is nobody');
  await page.getByText('Nothing is found. Enter searches on a page of its own.').waitFor();
  await page.keyboard.press('Enter');
  await page.getByText('Nothing is found for xyzzy is nobody.').waitFor();
  assert.deepEqual(page.faults, []);
});

test('a name that turns text is found, and turns nothing', {timeout: 60_000}, async t => {
  const page = await as(t, 'grace', '/people');
  const {token} = JSON.parse(await company.verb('token', 'create', 'turns', '-o', 'json'));
  const displayName = '\u202eecalevoL adA\u2067 the second'; // looks like Ada Lovelace
  const pushed = await fetch(company.scim + '/scim/v2/Users', {method: 'POST', headers: {Authorization: 'Bearer ' + token, 'Content-Type': 'application/scim+json'},
    body: JSON.stringify({schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'], userName: 'mallory@castle.example', externalId: 'mallory', active: true, displayName})});
  assert.equal(pushed.status, 201);
  await page.keyboard.press('/');
  await typed(page, 'mallory', 'ecalevoL adA');
  assert.equal(await page.locator('#palette-list [role=option] b').first().textContent(), '\ufffdecalevoL adA\ufffd the second');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', {level: 1, name: '\ufffdecalevoL adA\ufffd the second'}).waitFor();
  assert.doesNotMatch(await page.content(), /[\u202a-\u202e\u2066-\u2069]/);
  assert.deepEqual(page.faults, []);
});

test('a slash in a field is a slash', {timeout: 60_000}, async t => {
  const page = await as(t, 'grace', '/why');
  await page.getByLabel('Or an address').pressSequentially('https://x/');
  assert.equal(await page.getByLabel('Or an address').inputValue(), 'https://x/');
  assert.equal(await page.locator('#palette').evaluate(e => e.open), false);
});

test('the list of people follows what is written, and so does its address', {timeout: 90_000}, async t => {
  const page = await as(t, 'ada', '/people');
  await page.getByLabel('Any part of a name').pressSequentially('grace hopper');
  await page.waitForURL(url => url.searchParams.get('q') === 'grace hopper');
  await page.getByRole('link', {name: 'Grace Hopper'}).first().waitFor();
  assert.equal(await page.getByLabel('Any part of a name').inputValue(), 'grace hopper');
  assert.match(await page.locator('.formats a').first().getAttribute('href'), /q=grace\+hopper/);
  const address = page.url();
  await page.goto(address);
  await page.getByRole('link', {name: 'Grace Hopper'}).first().waitFor();
  assert.deepEqual(page.faults, []);
});

test('on a phone, the navigation shows the page that is open', {timeout: 60_000}, async t => {
  const page = await as(t, 'grace', '/record', {viewport: {width: 375, height: 800}});
  await page.waitForFunction(() => {
    const {left, right} = document.querySelector('nav [aria-current]').getBoundingClientRect();
    return left >= 0 && right <= innerWidth;
  });
});

test('people are found without scripts', {timeout: 60_000}, async t => {
  const page = await as(t, 'grace', '/people', {javaScriptEnabled: false, viewport: {width: 375, height: 800}});
  await page.getByRole('searchbox', {name: 'Find people'}).fill('eve');
  await page.keyboard.press('Enter');
  await page.getByRole('link', {name: 'Eve Castellanos'}).first().click();
  await page.getByRole('heading', {level: 1, name: 'Eve Castellanos'}).waitFor();
  assert.equal(await overflow(page), 0);
});

test('an administrator suspends somebody, who is out at once, and lets them in again', {timeout: 120_000}, async t => {
  const eve = await (await newPerson(t, company.browser)).newPage();
  await eve.goto(company.login + '/');
  await eve.getByRole('button', {name: 'eve', exact: true}).click();
  await eve.waitForURL(company.login + '/');
  const page = await as(t, 'ada', '/people?q=eve@castle.example');
  await page.getByRole('link', {name: 'Eve Castellanos'}).first().click();
  await page.getByRole('button', {name: 'End all sessions'}).waitFor();
  await page.getByLabel('Reason for a suspension').fill('a test');
  await page.getByRole('button', {name: 'Suspend'}).click();
  await page.getByText('Sessions have ended, and live requests are cut.').waitFor();
  await eve.goto(company.login + '/');
  assert.doesNotMatch(eve.url(), new RegExp(`^${company.login}/$`), 'eve is still signed in');
  await page.getByRole('link', {name: 'History'}).click();
  await page.getByText('by the administrator').first().waitFor();
  assert.match(await page.locator('.changes').textContent(), /ada@castle.example[^]*Suspended[^]*a test/);
  await page.getByRole('link', {name: 'Overview'}).last().click();
  await page.getByRole('button', {name: 'End the suspension'}).click();
  await page.getByText('The suspension has ended.').waitFor();
  assert.deepEqual(page.faults, []);
});
