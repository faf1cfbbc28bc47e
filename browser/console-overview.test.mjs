// Tests the first page of the console in a real Chromium: its charts, zooming, and that it refreshes itself.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {openCompany} from './company.mjs';

const {company, as} = openCompany();

test('the charts are drawn, and a shorter time can be chosen', async t => {
  const page = await as(t, 'grace', '/?range=7d');
  const chart = page.locator('[data-plot=requests] .zoom canvas');
  await chart.waitFor();
  const {width, height} = await chart.boundingBox();
  await page.locator('[data-plot=requests] .u-over').dragTo(page.locator('[data-plot=requests] .u-over'),
    {sourcePosition: {x: width * .4, y: height * .3}, targetPosition: {x: width * .6, y: height * .3}});
  await page.waitForURL(/from=.*until=/);
  const query = new URL(page.url()).searchParams;
  const hours = (Date.parse(query.get('until')) - Date.parse(query.get('from'))) / 3_600_000;
  assert.ok(hours > 20 && hours < 60, `the time that was chosen has ${hours} hours`);
  await chart.waitFor();
  await page.getByRole('link', {name: 'Zoom out'}).click();
  await page.waitForURL(/from=.*until=/);
  assert.deepEqual(page.faults, []);
});

test('the page refreshes itself', async t => {
  const page = await as(t, 'grace', '/?range=1h');
  const decided = () => [...document.querySelectorAll('#part-cards .card')].filter(card => /requests (allowed|denied)/.test(card.textContent))
    .reduce((sum, card) => sum + Number(card.querySelector('.figure').textContent.replace(/\D/g, '')), 0);
  const before = await page.evaluate(decided);
  const other = await page.context().newPage();
  await other.goto(company.grafana + '/');
  for (const end = Date.now() + 30_000; await page.evaluate(decided) <= before; await page.locator('#part-cards').waitFor()) assert.ok(Date.now() < end, 'a new request does not show');
  assert.equal(await page.locator('#stopped').isVisible(), false);
});

test('the page can be read without scripts', async t => {
  const page = await as(t, 'grace', '/?range=30d', {javaScriptEnabled: false});
  for (const chart of ['requests', 'denied']) {
    const picture = page.locator(`[data-plot=${chart}] svg[role=img]`);
    assert.ok(await picture.isVisible());
    assert.match(await picture.getAttribute('aria-label'), /[1-9]/);
  }
  assert.ok(await page.getByRole('img', {name: /^Time to revoke/}).isVisible());
});
