// A backend of your own: it signs users in, gives each browser a short-lived token for its own feed, and pushes events.
//
//   npm install ./lastseen-0.1.0.tgz esbuild   # the first one is made by `npm pack`
//   npx esbuild node_modules/lastseen/dist/src/client/index.js --bundle --format=esm --minify --outfile=client.js
//   LASTSEEN_CLIENT_ID=… LASTSEEN_CLIENT_SECRET=… node backend.mjs
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createPublisher, createTokenCache, lastseenIssuer } from 'lastseen/client';

const { LASTSEEN_CLIENT_ID: clientId, LASTSEEN_CLIENT_SECRET: clientSecret } = process.env;
if (!clientId || !clientSecret) throw new Error('set LASTSEEN_CLIENT_ID and LASTSEEN_CLIENT_SECRET');
const url = process.env.LASTSEEN_URL ?? 'http://127.0.0.1:8080';
const port = Number(process.env.PORT ?? 3000);
const tokenSeconds = Number(process.env.TOKEN_SECONDS ?? 300);

// The backend's own token has scope "admin" and never leaves this process.
const backendToken = createTokenCache({ issue: lastseenIssuer({ url, clientId, clientSecret }) });
const publisher = createPublisher({ url, token: backendToken });

/** Calls Lastseen as the backend. */
async function call(path, body) {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { Authorization: `Bearer ${await backendToken.token()}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  return response.json();
}

/** Each user has one feed, and may read that feed only. */
const feedOf = (user) => `user/${user}`;

// Users who are signed in, by session. Use the sessions of your application instead.
const sessions = new Map();

const routes = {
  'GET /': () => ['text/html; charset=utf-8', readFile(new URL('backend.html', import.meta.url))],
  'GET /client.js': () => ['text/javascript', readFile(new URL('client.js', import.meta.url))],

  'POST /login': (_user, { name }, response) => {
    if (!/^[a-z]{1,20}$/.test(name)) throw new Error('a name has 1 to 20 letters from a to z');
    const session = randomUUID();
    sessions.set(session, name);
    response.setHeader('Set-Cookie', `session=${session}; HttpOnly; SameSite=Strict; Path=/`);
    return ['application/json', { url, accessId: feedOf(name) }];
  },

  // The page asks for a token when it connects, and again before the token expires.
  'POST /token': async (user) => {
    const issued = await call('/tokens', {
      sub: feedOf(user),
      scope: 'subscribe',
      access_ids: [feedOf(user)],
      expires_in: tokenSeconds,
    });
    // The answer has a refresh token too: it stays here.
    return ['application/json', { token: issued.access_token }];
  },

  'POST /hello': async (user, { text }) => {
    const [result] = await publisher.push({
      accessId: feedOf(user),
      createdAt: Date.now(),
      payload: { text },
    });
    if (!result.ok) throw result.error;
    return ['application/json', { version: result.version }];
  },

  // Closes the user's connections and revokes the user's tokens, on every node.
  'POST /logout': async (user) => {
    for (const [session, name] of sessions) if (name === user) sessions.delete(session);
    await call('/drop_user', { drop_access_id: feedOf(user), revoke: true });
    return ['application/json', {}];
  },
};

const isOpen = (route) => route.startsWith('GET ') || route === 'POST /login';

const server = createServer(async (request, response) => {
  const route = `${request.method} ${request.url}`;
  const user = sessions.get(/\bsession=([0-9a-f-]+)/.exec(request.headers.cookie ?? '')?.[1]);
  try {
    if (!(route in routes)) return response.writeHead(404).end();
    if (user === undefined && !isOpen(route)) return response.writeHead(401).end();
    const [type, result] = await routes[route](user, await bodyOf(request), response);
    const content = await result;
    response.setHeader('Content-Type', type);
    response.end(Buffer.isBuffer(content) ? content : JSON.stringify(content));
  } catch (error) {
    response.writeHead(500, { 'Content-Type': 'text/plain' }).end(error.message);
  }
});

async function bodyOf(request) {
  let text = '';
  for await (const part of request.setEncoding('utf8')) {
    text += part;
    if (text.length > 10_000) throw new Error('the body is too large');
  }
  return text === '' ? {} : JSON.parse(text);
}

server.listen(port, '127.0.0.1', () => console.log(`open http://127.0.0.1:${server.address().port}`));

for (const signal of ['SIGTERM', 'SIGINT'])
  process.once(signal, async () => {
    server.close();
    server.closeAllConnections();
    await publisher.close();
    backendToken.close();
  });
