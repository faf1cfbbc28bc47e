// An OpenID provider with single sign-on, of its own making: it shows a sign-in form to whoever has no session here, and
// signs everybody else in without a question.
import {createHash, createSign, generateKeyPairSync, randomUUID} from 'node:crypto';
import {createServer} from 'node:http';

const encode = value => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const escape = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);

export class Provider {
  client = {id: 'sallyport', secret: 'a secret between two programs of a test'};
  users = ['ada', 'eve', 'grace', 'stranger']; // the last one is not pushed
  codes = new Map();
  sessions = new Map(); // cookie → {user, sid}
  late = 0; // how many milliseconds ago those who sign in now are said to have done so
  prompts = ['none', 'login', 'select_account'];
  signOuts = []; // the queries of the end_session_endpoint

  constructor() {
    const {publicKey, privateKey} = generateKeyPairSync('rsa', {modulusLength: 2048});
    this.key = privateKey;
    this.jwk = {...publicKey.export({format: 'jwk'}), kid: 'one', use: 'sig', alg: 'RS256'};
  }

  // listen serves on a free port of 127.0.0.1.
  async listen() {
    this.server = createServer((req, res) => this.serve(req, res).catch(err => { res.writeHead(500); res.end(String(err)); }));
    await new Promise(resolve => this.server.listen(0, '127.0.0.1', resolve));
    const {port} = this.server.address();
    this.issuer = `http://127.0.0.1:${port}`;
    this.site = `http://id.castle.localhost:${port}`; // for browsers, of one site with the applications
  }

  close() { this.server?.closeAllConnections(); this.server?.close(); }

  async serve(req, res) {
    const url = new URL(req.url, this.issuer);
    let body = '';
    for await (const part of req) body += part;
    const json = value => { res.setHeader('Content-Type', 'application/json'); res.end(JSON.stringify(value)); };
    switch (url.pathname) {
      case '/.well-known/openid-configuration':
        return json({
          issuer: this.issuer, authorization_endpoint: this.site + '/authorize', token_endpoint: this.issuer + '/token',
          jwks_uri: this.issuer + '/keys', end_session_endpoint: this.site + '/logout', response_types_supported: ['code'],
          subject_types_supported: ['public'], id_token_signing_alg_values_supported: ['RS256'],
          prompt_values_supported: this.prompts,
        });
      case '/keys': return json({keys: [this.jwk]});
      case '/authorize': return this.authorize(req, res, url, new URLSearchParams(body));
      case '/token': return json(this.token(new URLSearchParams(body)));
      case '/logout': return this.logout(req, res, url);
    }
    res.writeHead(404).end();
  }

  sessionOf(req) {
    const cookie = /(?:^|; )provider=([^;]+)/.exec(req.headers.cookie ?? '');
    return cookie && this.sessions.get(cookie[1]);
  }

  authorize(req, res, url, form) {
    const q = url.searchParams;
    let session = this.sessionOf(req);
    if (req.method === 'POST' && this.users.includes(form.get('user'))) {
      session = {user: form.get('user'), sid: randomUUID(), at: Date.now() - this.late};
      const cookie = randomUUID();
      this.sessions.set(cookie, session);
      res.setHeader('Set-Cookie', `provider=${cookie}; Path=/; HttpOnly; Secure; SameSite=Lax`);
    } else if (!session || ['select_account', 'login'].includes(q.get('prompt')) || q.has('max_age') && Date.now() - session.at > q.get('max_age') * 1000) {
      res.setHeader('Content-Type', 'text/html');
      res.end(`<!doctype html><title>Provider</title><h1>Who are you?</h1><form method="post" action="${escape(req.url)}">
        ${this.users.map(user => `<button name="user" value="${user}">${user}</button>`).join(' ')}</form>`);
      return;
    }
    const code = randomUUID();
    this.codes.set(code, {...session, nonce: q.get('nonce'), challenge: q.get('code_challenge')});
    const to = new URL(q.get('redirect_uri'));
    to.searchParams.set('code', code);
    to.searchParams.set('state', q.get('state'));
    res.writeHead(303, {Location: to.href}).end();
  }

  token(form) {
    const code = this.codes.get(form.get('code'));
    this.codes.delete(form.get('code'));
    const digest = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
    if (!code || code.challenge !== digest) return {error: 'invalid_grant'};
    const now = Math.floor(Date.now() / 1000);
    const claims = {iss: this.issuer, aud: this.client.id, sub: code.user, sid: code.sid, nonce: code.nonce, iat: now, exp: now + 300, auth_time: Math.floor(code.at / 1000), name: code.user};
    const signed = encode({alg: 'RS256', typ: 'JWT', kid: 'one'}) + '.' + encode(claims);
    const id_token = signed + '.' + createSign('RSA-SHA256').update(signed).sign(this.key, 'base64url');
    return {access_token: randomUUID(), token_type: 'Bearer', expires_in: 300, id_token};
  }

  logout(req, res, url) {
    this.signOuts.push(url.searchParams);
    const back = url.searchParams.get('post_logout_redirect_uri');
    const cookie = /(?:^|; )provider=([^;]+)/.exec(req.headers.cookie ?? '');
    if (cookie) this.sessions.delete(cookie[1]);
    if (back) {
      const to = new URL(back);
      if (url.searchParams.has('state')) to.searchParams.set('state', url.searchParams.get('state'));
      return res.writeHead(303, {Location: to.href}).end();
    }
    res.setHeader('Content-Type', 'text/html');
    res.end('<!doctype html><title>Provider</title><h1>You left the provider</h1>');
  }
}
