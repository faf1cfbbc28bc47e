// The pages of routes, rules and the configuration: pictures, a change that is tried, and a file that is refused.
import {test} from 'node:test';
import assert from 'node:assert/strict';
import {readFile, writeFile} from 'node:fs/promises';
import {openCompany} from './company.mjs';

const {company, as} = openCompany();

test('the page of a route draws who reaches it', async t => {
  const page = await as(t, 'grace', '/routes');
  await page.getByRole('link', {name: 'grafana', exact: true}).first().click();
  await page.locator('svg.picture').waitFor();
  assert.match(await page.locator('svg.picture').getAttribute('aria-label'), /people reach route grafana/);
  await page.getByRole('link', {name: 'Draw'}).first().click();
  await page.getByRole('link', {name: 'Show everybody'}).waitFor();
});

test('a changed policy is tried, and nothing changes', async t => {
  const page = await as(t, 'grace', '/policy/trials');
  assert.equal(await page.locator('textarea').count(), 0, 'an auditor may not try');

  const admin = await as(t, 'ada', '/policy/trials');
  await admin.fill('textarea', 'policies:\n  - {name: x, ruls: []}\n');
  await admin.getByRole('button', {name: 'Try it'}).click();
  await admin.getByText('ruls').first().waitFor();
  const file = await readFile(company.file, 'utf8');
  const policies = file.slice(file.indexOf('policies:'), file.indexOf('routes:')).replace(/(name: grafana\n\s+rules:\n).*\n/, '$1');
  await admin.fill('textarea', policies);
  await admin.getByRole('button', {name: 'Try it'}).click();
  await admin.waitForURL(/trials\/[0-9a-f]{32}/);
  await admin.waitForFunction(() => !document.querySelector('[data-renewing]'), null, {timeout: 60_000}); // the page goes on by itself
  assert.match(await admin.locator('main').innerText(), /lose access/);
  assert.match(await admin.locator('main').innerText(), /recorded decisions were asked again/);
  assert.equal(await readFile(company.file, 'utf8'), file);
});

test('a file that is refused is shown with its mistakes, and without secrets', async t => {
  const file = await readFile(company.file, 'utf8');
  const page = await as(t, 'grace', '/configuration');
  assert.match(await page.locator('main').innerText(), /the same/);
  await writeFile(company.file, file + '\nsesion: {idle: Canary0SecretValue}\n');
  while (!/A newer file was refused/.test(await page.locator('main').innerText())) {
    await page.waitForTimeout(200);
    await page.reload();
  }
  const text = await page.locator('main').innerText();
  assert.match(text, /is not a key here; write session/);
  assert.doesNotMatch(text, /Canary0SecretValue/);
  await writeFile(company.file, file);
});
