/**
 * A limit of memory over many connections, in all and for each owner. Code that builds a page or receives a body takes
 * a reservation first, and releases it when the network or the parser has the bytes (G7).
 */
import { LastseenError } from '../errors.ts';

/** Bytes that are reserved until `release`. */
export interface Reservation {
  readonly bytes: number;
  /** Reserves further bytes. Returns false, and counts a refusal, if they do not fit. */
  grow(bytes: number): boolean;
  /** Replaces the estimate by the size, which may exceed it. */
  settle(bytes: number): void;
  /** Returns the bytes to the budget. A second call has no effect. */
  release(): void;
}

/** Who reserves, and how much. */
export interface ReservationRequest {
  /** A token subject or an address: the owner of the bytes. */
  readonly owner: string;
  readonly bytes: number;
}

/** A budget of bytes. */
export interface ByteBudget {
  /** Label of the metrics. */
  readonly name: string;
  readonly limitBytes: number;
  readonly reservedBytes: number;
  /** Requests that wait for bytes. */
  readonly waiting: number;
  /** Number of refusals since the process started. */
  readonly refusals: number;
  /** Reserves bytes. Returns `undefined`, and counts a refusal, if they do not fit. */
  reserve(request: ReservationRequest): Reservation | undefined;
  /**
   * Reserves bytes as soon as they fit. Requests of one owner wait in order; another owner may overtake an owner
   * that has reached its limit.
   * @throws ERR_QUEUE_FULL if `patience` aborts before
   */
  wait(request: ReservationRequest, patience: AbortSignal): Promise<Reservation>;
}

/** Name and limits. A request above a limit is granted if it is the only one. */
export interface ByteBudgetOptions {
  readonly name: string;
  /** What the bytes are for, in the message of the error. */
  readonly noun: string;
  readonly limitBytes: number;
  /** Limit of one owner. */
  readonly ownerLimitBytes: number;
}

interface Waiting extends ReservationRequest {
  readonly grant: (reservation: Reservation) => void;
}

/** Creates a budget without reservations. */
export function createByteBudget({ name, noun, limitBytes, ownerLimitBytes }: ByteBudgetOptions): ByteBudget {
  const bytesByOwner = new Map<string, number>();
  const waitingByOwner = new Map<string, Set<Waiting>>();
  let reservedBytes = 0;
  let waiting = 0;
  let refusals = 0;

  /** `ownBytes` are reserved already, and belong to the same reservation. */
  function fitsInAll(bytes: number, ownBytes: number): boolean {
    return reservedBytes + bytes <= limitBytes || reservedBytes === ownBytes;
  }

  function fitsOwner(owner: string, bytes: number, ownBytes: number): boolean {
    const ownerBytes = bytesByOwner.get(owner) ?? 0;
    return ownerBytes + bytes <= ownerLimitBytes || ownerBytes === ownBytes;
  }

  function add(owner: string, bytes: number): void {
    reservedBytes += bytes;
    const ownerBytes = (bytesByOwner.get(owner) ?? 0) + bytes;
    if (ownerBytes > 0) {
      bytesByOwner.set(owner, ownerBytes);
    } else {
      bytesByOwner.delete(owner);
    }
  }

  function take(owner: string, reserved: number): Reservation {
    let bytes = reserved;
    let isReleased = false;
    add(owner, bytes);
    return {
      get bytes() {
        return bytes;
      },
      grow(more) {
        if (isReleased || !fitsInAll(more, bytes) || !fitsOwner(owner, more, bytes)) {
          refusals += 1;
          return false;
        }
        add(owner, more);
        bytes += more;
        return true;
      },
      settle(size) {
        if (!isReleased) {
          add(owner, size - bytes);
          bytes = size;
          grantWaiting();
        }
      },
      release() {
        if (!isReleased) {
          isReleased = true;
          add(owner, -bytes);
          grantWaiting();
        }
      },
    };
  }

  function grantWaiting(): void {
    for (const [owner, requests] of waitingByOwner) {
      for (const request of requests) {
        if (!fitsInAll(request.bytes, 0)) {
          return;
        }
        if (!fitsOwner(owner, request.bytes, 0)) {
          break;
        }
        remove(request);
        request.grant(take(owner, request.bytes));
      }
    }
  }

  function remove(request: Waiting): boolean {
    const requests = waitingByOwner.get(request.owner);
    if (requests?.delete(request) !== true) {
      return false;
    }
    waiting -= 1;
    if (requests.size === 0) {
      waitingByOwner.delete(request.owner);
    }
    return true;
  }

  function fullError(): LastseenError {
    refusals += 1;
    return new LastseenError('ERR_QUEUE_FULL', `the server has no memory left for ${noun}: retry later`);
  }

  return {
    name,
    limitBytes,
    get reservedBytes() {
      return reservedBytes;
    },
    get waiting() {
      return waiting;
    },
    get refusals() {
      return refusals;
    },
    reserve({ owner, bytes }) {
      if (!fitsInAll(bytes, 0) || !fitsOwner(owner, bytes, 0)) {
        refusals += 1;
        return undefined;
      }
      return take(owner, bytes);
    },
    async wait({ owner, bytes }, patience) {
      if (!waitingByOwner.has(owner) && fitsInAll(bytes, 0) && fitsOwner(owner, bytes, 0)) {
        return take(owner, bytes);
      }
      if (patience.aborted) {
        throw fullError();
      }
      return new Promise((resolve, reject) => {
        const request: Waiting = {
          owner,
          bytes,
          grant(reservation) {
            patience.removeEventListener('abort', giveUp);
            resolve(reservation);
          },
        };
        const giveUp = (): void => {
          if (remove(request)) {
            reject(fullError());
          }
        };
        patience.addEventListener('abort', giveUp, { once: true });
        const requests = waitingByOwner.get(owner) ?? new Set();
        waitingByOwner.set(owner, requests);
        requests.add(request);
        waiting += 1;
      });
    },
  };
}
