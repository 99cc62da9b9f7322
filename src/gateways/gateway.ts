/**
 * The interface of a gateway: one protocol in a folder of its own. A gateway declares the ports and settings
 * that it needs, and receives those and no others. A secret therefore reaches only the gateways that declare
 * it. `index.ts` lists the gateways.
 */
import type { Server } from 'node:http';
import type { Queries } from '../analysis/queries.ts';
import type { Admission } from '../delivery/admission.ts';
import type { ByteBudget } from '../delivery/byte-budget.ts';
import type { Hub } from '../delivery/hub.ts';
import type { Bodies } from '../http/bodies.ts';
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

/** The ports that a gateway can declare. */
export interface Ports {
  readonly routes: Routes;
  readonly sockets: Sockets;
  /** Adds a server on another port. It listens and stops with the service. */
  readonly listenOn: (server: Server, port: number) => void;
  readonly guards: Guards;
  readonly limits: RateLimits;
  readonly bodies: Bodies;
  readonly admission: Admission;
  readonly log: Log;
  readonly hub: Hub;
  /** The bytes of pages that are read or on their way to clients. */
  readonly pageBudget: ByteBudget;
  /** The budgets of this process, for the metrics. */
  readonly budgets: readonly ByteBudget[];
  readonly peers: Peers;
  readonly tokens: Tokens;
  readonly clients: Clients;
  readonly users: Users;
  readonly tickets: Tickets;
  readonly grants: Grants;
  readonly keys: Keys;
  readonly queries: Queries;
  readonly meters: Meters;
  /** The write-ahead log; `undefined` if the engine has none of its own. */
  readonly wal: { bytes(): number; pinnedMs(): number } | undefined;
  /** The descriptions of the gateways. */
  readonly descriptions: readonly Description[];
  readonly version: string;
  /** Device handlers of the application. */
  readonly devices: readonly DeviceMount[];
  readonly errors: ErrorReporter;
  readonly logger: Logger;
  readonly runtime: Runtime;
  /** Aborts when the server starts to shut down. */
  readonly draining: AbortSignal;
}

/** The ports and settings that a gateway declares. */
export interface Needs {
  readonly ports: readonly (keyof Ports)[];
  readonly settings: SettingsSlice;
}

/** The declared ports, and the values of the declared settings. */
export type PortsOf<N extends Needs> = Pick<Ports, N['ports'][number]> & ValuesOf<N['settings']>;

/** Closes the resources of a gateway. */
export type Close = () => void;

/** One protocol. */
export interface Gateway {
  readonly name: string;
  readonly description: Description;
  readonly needs: Needs;
  /**
   * Mounts the gateway.
   * @throws ERR_REQUEST_INVALID if the configuration of the application is invalid
   */
  mount(ports: object): Close;
}

/** Defines a gateway whose `mount` receives the declared ports and settings. */
export function defineGateway<const N extends Needs>(gateway: {
  readonly name: string;
  readonly description: Description;
  readonly needs: N;
  /** Mounts the gateway. Returns a function that closes its resources, if it has any. */
  readonly mount: (ports: PortsOf<N>) => Close | undefined;
}): Gateway {
  return {
    ...gateway,
    mount: (ports) => gateway.mount(ports as PortsOf<N>) ?? ((): void => undefined),
  };
}

/**
 * Mounts a gateway with the ports and settings that it declares. `values` contains the settings by property.
 */
export function mountGateway(gateway: Gateway, ports: Ports, values: object): Close {
  const { needs } = gateway;
  const settings = new Map<string, unknown>(Object.entries(values));
  return gateway.mount({
    ...Object.fromEntries(needs.ports.map((name) => [name, ports[name]])),
    ...Object.fromEntries(Object.values(needs.settings).map(({ key }) => [key, settings.get(key)])),
  });
}
