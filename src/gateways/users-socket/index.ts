/**
 * The users socket at /users/socket, and optionally on another port. Users receive their own events and
 * metadata; third parties receive those of every user. It speaks both dialects of the original.
 */
import { createServer } from 'node:http';
import { secretHash } from '../../identity/secrets.ts';
import { defineGateway } from '../gateway.ts';
import { admit, type Admitted } from './admission.ts';
import { DIALECTS } from './codec.ts';
import { usersSocketDescription } from './description.ts';
import { createNames } from './names.ts';
import { needs, type UsersSocketContext } from './needs.ts';
import { PROTOCOL_PREFIX, serve } from './socket.ts';

const PATH = '/users/socket';

/** The users socket gateway. */
export const usersSocket = defineGateway({
  name: 'users-socket',
  description: usersSocketDescription,
  needs,
  mount(ports) {
    const {
      sockets,
      usersSocketApiKey: key,
      usersSocketPort: port,
      requestTimeoutMs: requestTimeout,
    } = ports;
    const names = createNames(ports.users, ports.runtime.clock);
    const context: UsersSocketContext = { ...ports, names, members: new Set() };
    const keyHash = key === undefined ? undefined : secretHash(key);
    sockets.route<Admitted>({
      path: PATH,
      gateway: 'users-socket',
      admit: (request) => admit(request, context, keyHash),
      protocolOf: (offered) =>
        DIALECTS.map((dialect) => PROTOCOL_PREFIX + dialect).find((name) => offered.has(name)) ??
        (offered.has('lastseen') ? 'lastseen' : false),
      subjectOf: ({ principal }) => principal.subject,
      handle: (accepted) => {
        serve(accepted, context);
      },
    });
    if (port === undefined) {
      return undefined;
    }
    const server = createServer({ requestTimeout, headersTimeout: requestTimeout }, (_request, response) => {
      response.writeHead(426, { Upgrade: 'websocket', Connection: 'close' }).end();
    });
    sockets.forward(server, PATH);
    ports.listenOn(server, port);
    return undefined;
  },
});
