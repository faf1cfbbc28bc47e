// Compares Sallyport with independent libraries: sends random filters and PATCHes to
// SCIM_URL and computes the expected results with scim-patch and others.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {filter, parse} from 'scim2-parse-filter';
import {scimPatch} from 'scim-patch';

const {SCIM_URL: base, SCIM_TOKEN: token} = process.env;

async function send(method, path, body) {
  const response = await fetch(base + path, {
    method,
    headers: {Authorization: `Bearer ${token}`, 'Content-Type': 'application/scim+json'},
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  return {status: response.status, body: text ? JSON.parse(text) : {}};
}

// dice returns the same sequence for the same seed (mulberry32).
function dice(seed) {
  return n => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

// Every attribute has a value, in lower case: for missing values and for case, the
// library deviates from RFC 7643 §2.2 and §2.5.
function someUser(n, roll) {
  const words = ['alpha', 'beta', 'gamma', 'delta'];
  return {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
    userName: `opinion${n}@example.com`,
    active: roll(2) === 0,
    title: words[roll(4)],
    name: {familyName: words[roll(4)], givenName: words[roll(4)]},
    emails: [{type: 'work', value: `${words[roll(4)]}@x`}, {type: 'home', value: `${words[roll(4)]}@y`}],
  };
}

function someFilter(roll, depth) {
  const one = list => list[roll(list.length)];
  if (depth > 0) {
    switch (roll(4)) {
      case 0: return `${someFilter(roll, depth - 1)} and ${someFilter(roll, depth - 1)}`;
      case 1: return `${someFilter(roll, depth - 1)} or ${someFilter(roll, depth - 1)}`;
      case 2: return `not (${someFilter(roll, depth - 1)})`;
      case 3: return `(${someFilter(roll, depth - 1)})`;
    }
  }
  const word = one(['alpha', 'beta', 'gamma', 'delta', 'a', 'ta']);
  const compare = one(['eq', 'ne', 'co', 'sw', 'ew', 'gt', 'ge', 'lt', 'le']);
  switch (roll(5)) {
    case 0: return `active ${one(['eq', 'ne'])} ${one(['true', 'false'])}`;
    case 1: return `title ${compare} "${word}"`;
    case 2: return `name.familyName ${compare} "${word}"`;
    // No two conditions within []: the library matches them against different elements; RFC 7644 §3.4.2.2 does not.
    case 3: return `emails[value ${one(['sw', 'co', 'eq'])} "${word}"]`;
    default: return `${one(['title', 'name.givenName', 'emails'])} pr`;
  }
}

test('filters find what scim2-parse-filter finds', async () => {
  const roll = dice(1);
  const users = [];
  for (let n = 0; n < 12; n++) {
    const made = await send('POST', '/Users', someUser(n, roll));
    assert.equal(made.status, 201);
    users.push(made.body);
  }
  for (let n = 0; n < 500; n++) {
    const text = someFilter(roll, 3);
    const matches = filter(parse(text));
    const want = users.filter(u => matches(u)).map(u => u.userName).sort();
    const response = await send('GET', `/Users?filter=${encodeURIComponent(text)}`);
    assert.equal(response.status, 200, `${text}: ${response.body.detail}`);
    assert.deepEqual(response.body.Resources.map(u => u.userName).sort(), want, text);
  }
});

function someOperation(roll) {
  const one = list => list[roll(list.length)];
  const word = one(['alpha', 'beta', 'gamma']);
  switch (roll(8)) {
    case 0: return {op: one(['add', 'replace']), path: 'title', value: word};
    case 1: return {op: one(['add', 'replace']), path: 'name.givenName', value: word};
    case 2: return {op: 'replace', path: 'active', value: roll(2) === 0};
    case 3: return {op: 'replace', path: `emails[type eq "${one(['work', 'home'])}"].value`, value: `${word}@z`};
    case 4: return {op: 'replace', value: {title: word, nickName: word}};
    case 5: return {op: 'add', value: {displayName: word}}; // of a complex value, scim-patch drops the parts that are not named; RFC 7644 §3.5.2.1 keeps them
    case 6: return {op: 'remove', path: one(['displayName', 'nickName'])};
    default: return {op: 'replace', path: 'emails', value: [{type: 'work', value: `${word}@w`}, {type: 'home', value: `${word}@h`}]};
  }
}

const plain = ({meta, groups, schemas, id, ...rest}) => rest;

test('PATCH makes what scim-patch makes', async () => {
  const roll = dice(2);
  const {body: made} = await send('POST', '/Users', {...someUser(100, roll), displayName: 'd', nickName: 'n'});
  let want = made;
  for (let n = 0; n < 300; n++) {
    const operations = Array.from({length: 1 + roll(4)}, () => someOperation(roll))
      // scim-patch rejects the removal of a missing value; RFC 7644 §3.5.2.2 does not.
      .filter(o => o.op !== 'remove' || want[o.path] !== undefined);
    if (operations.length === 0 || new Set(operations.filter(o => o.op === 'remove').map(o => o.path)).size < operations.filter(o => o.op === 'remove').length) continue;
    const patch = {schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'], Operations: operations};
    want = scimPatch(structuredClone(want), structuredClone(operations));
    const response = await send('PATCH', `/Users/${made.id}`, patch);
    assert.equal(response.status, 200, JSON.stringify([operations, response.body]));
    assert.deepEqual(plain(response.body), plain(want), JSON.stringify(operations));
    want = response.body;
  }
});
