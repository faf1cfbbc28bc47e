// Node-RED behind Sallyport: docs/recipes/node-red.md. Whoever has an assertion that Sallyport signed for this route a minute
// ago or less comes in, under the name in it; nobody else does, on this machine neither.
const crypto = require('node:crypto');

const issuer = 'https://login.example.com'; // public_url
const audience = 'flows'; // the name of the route
const keySet = process.env.SALLYPORT_KEYS || issuer + '/.sallyport/jwks.json';

let keys = new Map(), fetched = 0;

async function keyOf(id) {
  if (!keys.has(id) && Date.now() - fetched > 10_000) {
    fetched = Date.now();
    const set = await (await fetch(keySet)).json();
    keys = new Map(set.keys.map(key => [key.kid, crypto.createPublicKey({key, format: 'jwk'})]));
  }
  return keys.get(id);
}

const decode = part => JSON.parse(Buffer.from(part, 'base64url'));

async function userOf(assertion) {
  try {
    const [head, body, signature] = assertion.split('.');
    const {alg, kid} = decode(head);
    const key = alg === 'ES256' && await keyOf(kid);
    if (!key || !crypto.verify('sha256', Buffer.from(head + '.' + body), {key, dsaEncoding: 'ieee-p1363'}, Buffer.from(signature, 'base64url'))) return null;
    const claims = decode(body), now = Date.now() / 1000;
    if (claims.iss !== issuer || claims.aud !== audience || !(claims.exp > now && claims.nbf < now + 5)) return null;
    return {username: claims.preferred_username, permissions: '*'};
  } catch {
    return null;
  }
}

module.exports = {
  uiHost: '127.0.0.1',
  uiPort: process.env.PORT || 1880,
  flowFile: 'flows.json',
  adminAuth: {type: 'credentials', users: [], tokenHeader: 'x-sallyport-assertion', tokens: userOf}, // editor and its WebSocket
  httpNodeMiddleware: async (req, res, next) => await userOf(req.headers['x-sallyport-assertion']) ? next() : res.sendStatus(401),
};
