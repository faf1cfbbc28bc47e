// Tests every action of the console, of the portal and of a person's own pages in a real Chromium: done by whoever may, with its
// effect; refused for whoever may not, and from another origin. Actions of the console are also refused after a sign-in that is
// too old, and carried out by the form that was kept once the administrator has signed in again.
//
// console/manage/actions_test.go demands that each action of the source is in a table here, by the words behind "is".
import assert from 'node:assert/strict';
import {readFile} from 'node:fs/promises';
import {test} from 'node:test';
import {formOf, post, postFrom, press, until} from './actions.mjs';
import {openCompany} from './company.mjs';
import {arrived, newPerson} from './harness.mjs';

const {company, as} = openCompany();

// Stage has the browsers of those who act, and what the actions are about.
class Stage {
  suspended = [];

  // set opens the browsers. mallory is a colleague with neither right.
  async set(t) {
    this.t = t;
    this.ada = await as(t, 'ada');
    this.people = (await this.read('/people?state=active')).filter(p => !/^(ada|grace|eve)$/.test(p.externalId));
    this.eveID = (await this.find('/people?q=eve@castle.example', p => p.externalId === 'eve')).id;
    do {
      this.mallory = this.people.pop();
    } while ((await this.read('/people/' + this.mallory.id)).routes.some(r => r.route === 'grafana')); // who may ask for it
    company.provider.users.push(this.mallory.externalId);
    const stranger = await (await newPerson(t, company.browser)).newPage(), elsewhere = await this.ada.context().newPage();
    await Promise.all([stranger.goto(company.login + '/.sallyport/jwks.json'), elsewhere.goto(company.wiki + '/')]);
    Object.assign(this, {stranger, elsewhere, grace: await as(t, 'grace'), eve: await this.portal('eve'), nobody: await this.portal(this.mallory.externalId)});
  }

  // portal opens the portal in a browser of its own, in which somebody is signed in. Scripts of the test may send there what
  // the pages' own scripts may not.
  async portal(user) {
    const page = await (await newPerson(this.t, company.browser, {bypassCSP: true})).newPage();
    await page.goto(company.login + '/');
    await page.getByRole('button', {name: user, exact: true}).click();
    await arrived(page, company.login + '/');
    return page;
  }

  // read returns what a page of the console lists, as JSON; undefined if there is no such page.
  read(path) {
    return this.ada.evaluate(async address => {
      const response = await fetch(address);
      return response.ok ? response.json() : undefined;
    }, company.console + path + (path.includes('?') ? '&' : '?') + 'format=json');
  }

  // find returns what the only one is that a page lists and that is so.
  async find(path, is) { return (await this.read(path)).find(is); }

  // verb runs a verb, and returns what it prints as JSON.
  async verb(...args) { return JSON.parse(await company.verb(...args, '-o', 'json')); }

  // html returns the portal as the person of a page sees it.
  html(page) { return page.evaluate(async address => (await fetch(address)).text(), company.login + '/'); }

  // sessions returns those of eve.
  async sessions() { return (await this.read('/people/' + this.eveID)).sessions; }

  // withdraw withdraws a request of eve's.
  async withdraw(id) { assert.equal(await post(this.eve, {path: company.login + '/.sallyport/requests/' + id, fields: [['do', 'withdraw']]}), 0); }

  someone() { return this.people.shift(); }

  // live opens a page of eve's with an event stream and a WebSocket, and returns both and how they are doing.
  async live() {
    const page = await this.eve.context().newPage();
    await page.goto(company.wiki + '/live');
    for (const id of ['events', 'socket']) await page.locator(`#${id}`, {hasText: 'open'}).waitFor();
    const requests = await this.read('/live?sort=newest&user=' + this.eveID);
    return {events: requests.find(r => r.asked.endsWith(' /events')), socket: requests.find(r => r.asked.endsWith(' /socket')),
      says: id => page.locator('#' + id).textContent(), close: () => page.close()};
  }

  // ask asks for access to an application as somebody, and returns the number of the request.
  async ask(page = this.nobody, name = this.mallory.displayName, route = 'grafana') {
    assert.equal(await post(page, {path: company.login + '/.sallyport/ask?route=' + route, fields: [['policy', route], ['reason', 'a test']]}), 200);
    return (await this.find('/requests', r => r.person === name && r.route === route)).id;
  }
}

// actions are those of the console. prepare is called twice: once for each time that the action is carried out. It returns
// the path of the page, how its form is filled in, its button, and whether the action has had its effect.
const actions = stage => [
  {is: 'POST /live/end', prepare: async n => {
    const live = await stage.live(), kind = ['events', 'socket'][n];
    return {path: '/live?user=' + stage.eveID, button: page => page.locator(`button[name=request][value="${live[kind].request}"]`),
      done: async () => await live.says(kind) === 'cut', after: async () => { assert.equal(await live.says(['socket', 'events'][n]), 'open'); await live.close(); }};
  }},
  {is: 'POST /live/end-all', prepare: async () => {
    const live = await stage.live();
    return {path: '/live?user=' + stage.eveID, button: page => page.getByRole('button', {name: /^End all of/}),
      done: async () => await live.says('events') === 'cut' && await live.says('socket') === 'cut', after: live.close};
  }},
  {is: 'POST /provisioning/tokens', prepare: n => ({path: '/provisioning/tokens', fill: page => page.getByLabel('Name').fill('made-' + n),
    button: page => page.getByRole('button', {name: 'Make the token'}), done: async () => !!await stage.find('/provisioning/tokens', t => t.name === 'made-' + n),
    says: 'This is the token. It is shown now, and never again.'})},
  {is: 'POST /provisioning/tokens/{id}/rotate', prepare: async n => {
    const {id, name} = await stage.verb('token', 'create', 'turned-' + n);
    return {path: '/provisioning/tokens/' + id, button: page => page.getByRole('button', {name: 'Rotate'}),
      done: async () => (await stage.read('/provisioning/tokens')).filter(t => t.name === name).length === 2, says: 'Enter it at the identity provider in the place of the former one'};
  }},
  {is: 'POST /provisioning/tokens/{id}/revoke', prepare: async n => {
    const {id} = await stage.verb('token', 'create', 'ended-' + n);
    return {path: '/provisioning/tokens/' + id, fill: page => page.getByLabel('The identity provider does not need it any more.').check(),
      button: page => page.getByRole('button', {name: 'Revoke'}), done: async () => !await stage.find('/provisioning/tokens', t => t.id === id)};
  }},
  ...['Release', 'Reject'].map(word => ({is: 'POST /provisioning/held/{decision}', what: word, prepare: async () => {
    const {id} = await stage.find('/provisioning/held', p => p.state === 'waits');
    return {path: '/provisioning/held', fill: page => page.locator(`input[name=user][value="${id}"]`).check(), button: page => page.getByRole('button', {name: word + ' the chosen'}),
      done: async () => (await stage.find('/provisioning/held', p => p.id === id))?.state === {Release: undefined, Reject: 'rejected'}[word]};
  }})),
  {is: 'POST /provisioning/held/{decision}', what: 'Reject all', once: true, prepare: () => ({path: '/provisioning/held', fill: page => page.getByText(/^Decide about all/).click(),
    button: page => page.getByRole('button', {name: /^Reject all/}), done: async () => !await stage.find('/provisioning/held', p => p.state === 'waits')})},
  {is: 'POST /reviews', prepare: n => {
    const route = ['airflow', 'kibana'][n];
    return {path: '/reviews', fill: page => page.locator('#route').selectOption(route), button: page => page.getByRole('button', {name: 'Start a review'}),
      done: async () => !!await stage.find('/reviews', r => r.route === route)};
  }},
  ...['Keep the chosen', 'Revoke the chosen', 'Ask first'].map(word => ({is: 'POST /reviews/{id}/decide', what: word, prepare: async () => {
    const {id} = await stage.find('/reviews', r => r.route === 'payroll');
    const {row} = await stage.find(`/reviews/${id}?decision=open`, () => true);
    const decision = word.split(' ')[0].toLowerCase();
    return {path: `/reviews/${id}?decision=open`, fill: async page => {
      await page.locator('input[name=row]').first().check();
      await page.getByLabel('Why (it is recorded)').fill('a test');
    }, button: page => page.getByRole('button', {name: word}), done: async () => !!await stage.find(`/reviews/${id}?decision=${decision}`, r => r.row === row)};
  }})),
  {is: 'POST /reviews/{id}/close', prepare: async n => {
    const {id} = await stage.find('/reviews', r => r.route === ['airflow', 'kibana'][n]);
    return {path: '/reviews/' + id, fill: page => page.getByLabel('Nothing more is to be decided.').check(), button: page => page.getByRole('button', {name: 'Close the review'}),
      done: async () => (await stage.find('/reviews', r => r.id === id)).state === 'closed'};
  }},
  {is: 'POST /requests/{id}/approve', prepare: async () => {
    const id = await stage.ask();
    return {path: '/requests/' + id, button: page => page.getByRole('button', {name: 'Approve'}), done: async () => !await stage.find('/requests', r => r.id === id),
      after: async () => assert.equal((await stage.find('/requests/decided', r => r.id === id)).state, 'approved')};
  }, then: {is: 'POST /requests/grants/{id}/revoke', prepare: async () => {
    const {id} = await stage.find('/requests/grants', g => g.person === stage.mallory.userName);
    return {path: '/requests/grants/' + id, fill: page => page.getByLabel('Why').fill('a test'), button: page => page.getByRole('button', {name: 'End it now'}),
      done: async () => !await stage.find('/requests/grants', g => g.id === id)};
  }}},
  {is: 'POST /requests/{id}/deny', prepare: async () => {
    const id = await stage.ask();
    return {path: '/requests/' + id, fill: page => page.getByLabel('Why').fill('a test'), button: page => page.getByRole('button', {name: 'Deny'}),
      done: async () => !await stage.find('/requests', r => r.id === id), after: async () => assert.equal((await stage.find('/requests/decided', r => r.id === id)).state, 'denied')};
  }},
  {is: 'POST /people/{id}/suspend', prepare: n => {
    const {id} = stage.suspended[n] = stage.someone();
    return {path: '/people/' + id, fill: page => page.getByLabel('Reason for a suspension').fill('a test'), button: page => page.getByRole('button', {name: 'Suspend'}),
      done: async () => (await stage.read('/people/' + id)).suspended === 'a test'};
  }},
  {is: 'POST /people/{id}/unsuspend', prepare: n => {
    const {id} = stage.suspended[n];
    return {path: '/people/' + id, button: page => page.getByRole('button', {name: 'End the suspension'}), done: async () => !(await stage.read('/people/' + id)).suspended};
  }},
  {is: 'POST /people/{id}/sessions', what: 'one', prepare: async () => {
    const known = (await stage.sessions()).map(s => s.id), eve = await stage.portal('eve');
    const {id} = (await stage.sessions()).find(s => !known.includes(s.id));
    return {path: '/people/' + stage.eveID, button: page => page.locator(`form:has(input[name=session][value="${id}"]) button`), done: () => isOut(eve)};
  }},
  {is: 'POST /people/{id}/sessions', what: 'all', prepare: async () => {
    const eve = await stage.portal('eve');
    return {path: '/people/' + stage.eveID, button: page => page.getByRole('button', {name: 'End all sessions'}), done: () => isOut(eve)};
  }},
  {is: 'POST /people/{id}/remove', prepare: () => {
    const {id, userName} = stage.someone();
    return {path: '/people/' + id, fill: async page => {
      await page.getByText('Remove this person').click();
      await page.getByLabel(`Write ${userName} to confirm`).fill(userName);
    }, button: page => page.getByRole('button', {name: 'Remove'}), done: async () => !await stage.read('/people/' + id)};
  }},
  {is: 'POST /people/remove', prepare: async () => {
    const {id} = await stage.find('/people?state=stale', () => true);
    return {path: '/people?state=stale', fill: page => page.locator(`input[name=id][value="${id}"]`).check(), button: page => page.getByRole('button', {name: 'Remove those that are chosen'}),
      done: async () => !await stage.find('/people?state=stale', p => p.id === id)};
  }},
  {is: 'POST /groups/{id}/remove', prepare: async n => {
    const name = ['Payments', 'Search'][n];
    const {id} = await stage.find('/groups?q=' + name, g => g.displayName === name);
    return {path: '/groups/' + id, fill: async page => {
      await page.getByText('Remove this group').click();
      await page.getByLabel(`Write ${name} to confirm`).fill(name);
    }, button: page => page.getByRole('button', {name: 'Remove'}), done: async () => !await stage.read('/groups/' + id)};
  }},
  {is: 'POST /groups/remove', prepare: async () => {
    const {id} = await stage.find('/groups?state=stale', () => true);
    return {path: '/groups?state=stale', fill: page => page.locator(`input[name=id][value="${id}"]`).check(), button: page => page.getByRole('button', {name: 'Remove those that are chosen'}),
      done: async () => !await stage.find('/groups?state=stale', g => g.id === id)};
  }},
  {is: 'POST /policy/trials', prepare: async n => {
    const file = await readFile(company.file, 'utf8');
    return {path: '/policy/trials', fill: page => page.locator('textarea').fill(file.slice(file.indexOf('policies:'), file.indexOf('routes:'))), button: page => page.getByRole('button', {name: 'Try it'}),
      done: async () => (await stage.read('/policy/trials')).length === n + 1, after: () => until(async () => !await stage.find('/policy/trials', t => t.state === 'is being tried'), 'the trial does not end')};
  }},
];

// isOut reports whether the session of a page is over.
const isOut = async page => await page.evaluate(async () => (await fetch('/.sallyport/me')).status) === 401;

// refused checks that nobody else can carry out an action by the form that the administrator would send.
async function refused(stage, action, form) {
  const seen = await stage.grace.evaluate(async address => (await fetch(address)).text(), company.console + action.path);
  assert.doesNotMatch(seen, /method="?post/, 'the page of an auditor has a form that acts');
  const untold = {...form, fields: form.fields.filter(([name]) => name !== 'token')};
  const [auditor, neither, stranger, elsewhere, tokenless] = await Promise.all([post(stage.grace, form), post(stage.nobody, form), post(stage.stranger, form), postFrom(stage.elsewhere, form), post(stage.ada, untold)]);
  assert.deepEqual({auditor, neither, stranger, elsewhere, tokenless}, {auditor: 403, neither: 403, stranger: 401, elsewhere: 403, tokenless: 400});
}

// begin opens the page of an action, fills its form in, and returns the button. tried, if any, gets the form.
async function begin(page, address, action, tried) {
  await page.goto(address);
  await action.fill?.(page);
  const button = action.button(page);
  assert.equal(await action.done(), false, 'the action has had its effect before');
  if (tried) {
    await tried(await formOf(button));
    assert.equal(await action.done(), false, 'the action was carried out although it was refused');
  }
  return button;
}

// succeed checks that an action has its effect, and that the page says so.
async function succeed(page, response, action) {
  assert.equal(response.status(), 200, await page.locator('main').innerText());
  await page.locator('main').getByText(action.says ?? /./).first().waitFor();
  if (!action.says) assert.ok(await page.locator('main .notice[role=status]').first().isVisible(), 'the page does not say what was done');
  await until(action.done, 'the action has no effect');
  await action.after?.();
}

// Late is a browser in which ada has signed in two hours ago. console.max_age is an hour.
class Late {
  async open(t, stage) {
    company.provider.late = 7_200_000;
    this.page = await stage.portal('ada'); // at the console, the provider would ask for a recent sign-in
    company.provider.late = 0;
    this.context = this.page.context();
    this.provider = (await this.context.cookies(company.provider.site)).filter(cookie => cookie.name === 'provider');
  }

  // again has the provider sign ada in once more, as of two hours ago.
  async again() {
    await this.context.clearCookies();
    await this.context.addCookies(this.provider);
    await this.page.goto(company.login + '/');
  }

  // press presses a button, whose form is refused and kept; signs in; and sends the form.
  async press(button, action) {
    assert.equal((await press(this.page, button)).status(), 401, 'a form is not refused after an old sign-in');
    assert.equal(await action.done(), false, 'the action was carried out after an old sign-in');
    await this.page.getByRole('link', {name: 'Sign in again'}).click();
    await this.page.getByRole('button', {name: 'ada', exact: true}).click();
    await this.page.getByRole('button', {name: 'Send the form'}).waitFor();
    assert.equal(await action.done(), false, 'the form was sent without a press of the button');
    return press(this.page, this.page.getByRole('button', {name: 'Send the form'}));
  }
}

test('every action of the console is done by administrators alone, after a recent sign-in, from the console', {timeout: 240_000}, async t => {
  const stage = new Stage(), late = new Late();
  await stage.set(t);
  await late.open(t, stage);
  const page = await stage.ada.context().newPage();
  for (let next of actions(stage)) {
    for (; next; next = next.then) {
      const {is, what = '', once, prepare} = next;
      await t.test(`${is} ${what}`, async () => {
        const action = await prepare(0);
        const button = await begin(page, company.console + action.path, action, form => refused(stage, action, form));
        await succeed(page, await press(page, button), action);
      });
      if (once) continue;
      await t.test(`${is} ${what} after an old sign-in`, async () => {
        const action = await prepare(1);
        await late.again();
        await succeed(late.page, await late.press(await begin(late.page, company.console + action.path, action), action), action);
      });
    }
  }
});

// ownActions are those of the portal, of requests for access and of a person's own sessions. They do not ask for a recent sign-in.
// who is the page of whoever carries an action out; other is the status that somebody else gets, if the action is about
// something of somebody's.
const ownActions = stage => {
  const kibana = company.wiki.replace('wiki', 'kibana'), asked = () => stage.ask(stage.eve, 'Eve Castellanos', 'kibana');
  const stateOf = async id => (await stage.find('/requests/decided', r => r.id === id))?.state;
  const request = (word, decided, fill) => ({who: 'ada', other: 404, prepare: async () => {
    const id = await asked();
    return {address: company.login + '/.sallyport/requests/' + id, fill, button: page => page.getByRole('button', {name: word}), done: async () => await stateOf(id) === decided};
  }});
  const pin = (word, next) => ({who: 'eve', prepare: () => ({address: company.login + '/',
    button: page => page.getByRole('button', {name: word + ' wiki', exact: true}), done: async () => (await stage.html(stage.eve)).includes(`aria-label="${next} wiki"`)})});
  const sessions = company.login + '/.sallyport/sessions';
  return [
    {is: 'POST /.sallyport/request', who: 'eve', prepare: () => ({address: kibana + '/', fill: page => page.getByLabel('Why do you need it?').fill('a test'),
      button: page => page.getByRole('button', {name: 'Request access'}), done: async () => !!await stage.find('/requests', r => r.person === 'Eve Castellanos' && r.route === 'kibana')}),
    then: {is: 'POST /.sallyport/requests/{id} withdraw', who: 'eve', other: 404, prepare: async () => {
      const {id} = await stage.find('/requests', r => r.person === 'Eve Castellanos' && r.route === 'kibana');
      return {address: company.login + '/.sallyport/requests/' + id, button: page => page.getByRole('button', {name: 'Withdraw the request'}), done: async () => await stateOf(id) === 'withdrawn'};
    }}},
    {is: 'POST /.sallyport/ask', who: 'eve', prepare: () => ({address: company.login + '/.sallyport/ask?route=kibana', fill: page => page.getByLabel('Why do you need it?').fill('a test'), button: page => page.getByRole('button', {name: 'Request access'}),
      done: async () => !!await stage.find('/requests', r => r.person === 'Eve Castellanos' && r.route === 'kibana'),
      after: async () => stage.withdraw((await stage.find('/requests', r => r.person === 'Eve Castellanos')).id)})},
    {is: 'POST /.sallyport/requests/{id} deny', ...request('Deny', 'denied', page => page.getByLabel(/^Why not/).fill('a test'))},
    {is: 'POST /.sallyport/requests/{id} approve', ...request('Approve', 'approved')},
    {is: 'POST /.sallyport/requests/{id} end', who: 'eve', other: 404, prepare: async () => {
      const {id} = await stage.find('/requests/decided', r => r.person === 'Eve Castellanos' && r.route === 'kibana' && r.state === 'approved');
      return {address: company.login + '/.sallyport/requests/' + id, button: page => page.getByRole('button', {name: 'End the access now'}),
        done: async () => !await stage.find('/requests/grants', g => g.route === 'kibana')};
    }},
    {is: 'POST /.sallyport/pins pin', ...pin('Pin', 'Unpin')},
    {is: 'POST /.sallyport/pins unpin', ...pin('Unpin', 'Pin')},
    {is: 'POST /.sallyport/sessions end', who: 'eve', other: 409, prepare: async () => {
      const known = (await stage.sessions()).map(s => s.id), other = await stage.portal('eve');
      const {id} = (await stage.sessions()).find(s => !known.includes(s.id));
      return {address: sessions, button: page => page.locator(`form:has(input[name=session][value="${id}"]) button`), done: () => isOut(other)};
    }},
    {is: 'POST /.sallyport/sessions others', who: 'eve', prepare: async () => {
      const other = await stage.portal('eve');
      return {address: sessions, button: page => page.getByRole('button', {name: 'End all other sessions'}), done: () => isOut(other), after: async () => assert.equal(await isOut(stage.eve), false)};
    }},
    {is: 'POST /.sallyport/sessions all', who: 'eve', prepare: () => ({address: sessions, button: page => page.getByRole('button', {name: 'End all sessions, this one too'}),
      done: async () => (await stage.sessions()).length === 0})},
  ];
};

test('what people do on their own pages is done by themselves, from these pages', {timeout: 120_000}, async t => {
  const stage = new Stage();
  await stage.set(t);
  const elsewhere = {ada: stage.elsewhere, eve: await stage.eve.context().newPage()};
  await elsewhere.eve.goto(company.wiki + '/');
  for (let next of ownActions(stage)) {
    for (; next; next = next.then) {
      const {is, who, other, prepare} = next;
      await t.test(is, async () => {
        const action = await prepare();
        const page = await stage[who].context().newPage();
        const button = await begin(page, action.address, action, async form => {
          assert.deepEqual({'not signed in': await post(stage.stranger, {...form, path: onLogin(form.path)}), 'another origin': await postFrom(elsewhere[who], form), 'somebody else': other && await post(stage.nobody, form)},
            {'not signed in': 401, 'another origin': 403, 'somebody else': other});
        });
        const response = await press(page, button);
        assert.ok(response.ok(), `${response.status()} ${await page.locator('main').innerText()}`);
        await until(action.done, 'the action has no effect');
        await action.after?.();
        await page.close();
      });
    }
  }
});

// onLogin returns an address on the host of the portal.
const onLogin = address => company.login + new URL(address).pathname + new URL(address).search;

test('a form of another site is refused, even when the administrator sends it on', {timeout: 60_000}, async t => {
  const page = await as(t, 'ada', '/provisioning/tokens');
  await page.getByLabel('Name').fill('foreign');
  const {path, fields} = await formOf(page.getByRole('button', {name: 'Make the token'}));
  await page.goto(`http://127.0.0.1:${company.upstream.address().port}/`);
  await page.evaluate(([path, fields]) => {
    const form = Object.assign(document.createElement('form'), {method: 'post', action: path});
    form.append(...fields.map(([name, value]) => Object.assign(document.createElement('input'), {name, value})));
    document.body.append(form);
    form.submit();
  }, [path, fields]);
  await page.getByRole('heading', {name: 'Another site sent a form'}).waitFor(); // browsers send no session with it
  assert.equal((await press(page, page.getByRole('button', {name: 'Send it'}))).status(), 403);
  assert.doesNotMatch(await company.verb('token', 'list'), /foreign/);
});
