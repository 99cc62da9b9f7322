/** Creates the parts of delivery: the hub of sessions, the follower of control events, and admission. */
import type { Identity } from '../identity/identity.ts';
import type { Log } from '../log/log.ts';
import type { Logger } from '../logger.ts';
import type { Runtime } from '../runtime.ts';
import { type Admission, type AdmissionLimits, createAdmission } from './admission.ts';
import { type ByteBudget, createByteBudget } from './byte-budget.ts';
import { followControl } from './control.ts';
import { createHub, type Hub } from './hub.ts';

/** The parts of delivery. */
export interface Delivery {
  readonly hub: Hub;
  readonly admission: Admission;
  /** The bytes of pages that are read or on their way to clients. */
  readonly pageBudget: ByteBudget;
  /** Stops the follower of control events and the health checks. */
  close(): void;
}

/** Limits of the bytes of pages. */
interface PageLimits {
  readonly pageBudgetBytes: number;
  readonly pageBudgetBytesPerPrincipal: number;
}

/** The parts that delivery depends on. */
export interface DeliveryOptions {
  readonly log: Log;
  readonly limits: AdmissionLimits & PageLimits;
  /**
   * Tells whether a token is revoked, and receives each revocation before the sessions concerned are closed.
   */
  readonly identity: Pick<Identity, 'revocations' | 'authenticator'>;
  readonly onFault: (error: unknown) => void;
  /** Aborts when the server starts to shut down. */
  readonly draining: AbortSignal;
  readonly logger: Logger;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
}

/** Creates delivery over a log. */
export function createDelivery(options: DeliveryOptions): Delivery {
  const { log, limits, identity, onFault, draining, logger, runtime } = options;
  const { timers } = runtime;
  const hub = createHub({ ...runtime, isRevoked: identity.revocations.isRevoked });
  const stopControl = followControl({ log, hub, onRevoked: identity.authenticator.revoke, onFault, timers });
  const stopEnd = log.onEnd(() => {
    logger.warn(
      'the store holds another history of the log, for example after a failover or a restore: the server closes every connection, and clients resume from what the two histories share',
    );
    identity.authenticator.forget();
    hub.closeAll('restarting');
  });
  return {
    hub,
    admission: createAdmission(hub, limits, draining),
    pageBudget: createByteBudget({
      name: 'pages',
      noun: 'pages',
      limitBytes: limits.pageBudgetBytes,
      ownerLimitBytes: limits.pageBudgetBytesPerPrincipal,
    }),
    close() {
      stopEnd();
      stopControl();
      hub.stop();
    },
  };
}
