/**
 * The shape of a gateway: one protocol, in a folder of its own. A gateway names the ports and the settings that it needs
 * and receives those and no others, so that a secret reaches only the gateway that declares it. `index.ts` lists all
 * gateways.
 */
import type { Server } from 'node:http';
import type { Queries } from '../analysis/queries.ts';
import type { Admission } from '../delivery/admission.ts';
import type { Hub } from '../delivery/hub.ts';
import type { Description } from '../http/description.ts';
import type { ErrorReporter } from '../http/error-reporter.ts';
import type { Guards } from '../http/guards.ts';
import type { RateLimits } from '../http/rate-limits.ts';
import type { Routes } from '../http/routes.ts';
import type { Sockets } from '../http/sockets.ts';
import type { Clients } from '../identity/clients.ts';
import type { Grants } from '../identity/grants.ts';
import type { Keys } from '../identity/keys.ts';
import type { Tickets } from '../identity/tickets.ts';
import type { Tokens } from '../identity/tokens.ts';
import type { Users } from '../identity/users.ts';
import type { Log } from '../log/log.ts';
import type { Logger } from '../logger.ts';
import type { Peers } from '../peers.ts';
import type { Runtime } from '../runtime.ts';
import type { SettingsSlice, ValuesOf } from '../settings.ts';
import type { DeviceMount } from './fedecks/handler.ts';
import type { Meters } from './metrics/meters.ts';

/** What a gateway can ask for. */
export interface Ports {
  readonly routes: Routes;
  readonly sockets: Sockets;
  /** A server on a port of its own: it listens and stops with the service. */
  readonly listenOn: (server: Server, port: number) => void;
  readonly guards: Guards;
  readonly limits: RateLimits;
  readonly admission: Admission;
  readonly log: Log;
  readonly hub: Hub;
  readonly peers: Peers;
  readonly tokens: Tokens;
  readonly clients: Clients;
  readonly users: Users;
  readonly tickets: Tickets;
  readonly grants: Grants;
  readonly keys: Keys;
  readonly queries: Queries;
  readonly meters: Meters;
  /** Bytes of the write-ahead log, where the engine has one of its own. */
  readonly walBytes: (() => number) | undefined;
  /** Of every gateway. */
  readonly descriptions: readonly Description[];
  readonly version: string;
  /** Handlers of devices that the application brings. */
  readonly devices: readonly DeviceMount[];
  readonly errors: ErrorReporter;
  readonly logger: Logger;
  readonly runtime: Runtime;
  /** Aborted when the service begins to shut down. */
  readonly draining: AbortSignal;
}

export interface Needs {
  readonly ports: readonly (keyof Ports)[];
  readonly settings: SettingsSlice;
}

/** What a gateway with these needs is mounted with. */
export type PortsOf<N extends Needs> = Pick<Ports, N['ports'][number]> & ValuesOf<N['settings']>;

/** Closes what the gateway has opened for itself. */
export type Close = () => void;

export interface Gateway {
  readonly name: string;
  readonly description: Description;
  readonly needs: Needs;
  /** @throws ERR_REQUEST_INVALID when what the application brings cannot be mounted */
  mount(ports: object): Close;
}

export function defineGateway<const N extends Needs>(gateway: {
  readonly name: string;
  readonly description: Description;
  readonly needs: N;
  /** Returns how to close what it opens, or nothing. */
  readonly mount: (ports: PortsOf<N>) => Close | undefined;
}): Gateway {
  return {
    ...gateway,
    mount: (ports) => gateway.mount(ports as PortsOf<N>) ?? ((): void => undefined),
  };
}

/** Mounts the gateway with exactly what it needs. `values` has the settings by property. */
export function mountGateway(gateway: Gateway, ports: Ports, values: object): Close {
  const { needs } = gateway;
  const settings = new Map<string, unknown>(Object.entries(values));
  return gateway.mount({
    ...Object.fromEntries(needs.ports.map((name) => [name, ports[name]])),
    ...Object.fromEntries(Object.values(needs.settings).map(({ key }) => [key, settings.get(key)])),
  });
}
