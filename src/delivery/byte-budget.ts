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

/** What is reserved, in all and by owner. */
class Account {
  reservedBytes = 0;
  refusals = 0;
  readonly #bytesByOwner = new Map<string, number>();
  readonly #limitBytes: number;
  readonly #ownerLimitBytes: number;

  constructor(limitBytes: number, ownerLimitBytes: number) {
    this.#limitBytes = limitBytes;
    this.#ownerLimitBytes = ownerLimitBytes;
  }

  /** `ownBytes` are reserved already, and belong to the same reservation. */
  fitsInAll(bytes: number, ownBytes: number): boolean {
    return this.reservedBytes + bytes <= this.#limitBytes || this.reservedBytes === ownBytes;
  }

  fitsOwner(owner: string, bytes: number, ownBytes: number): boolean {
    const ownerBytes = this.#bytesByOwner.get(owner) ?? 0;
    return ownerBytes + bytes <= this.#ownerLimitBytes || ownerBytes === ownBytes;
  }

  add(owner: string, bytes: number): void {
    this.reservedBytes += bytes;
    const ownerBytes = (this.#bytesByOwner.get(owner) ?? 0) + bytes;
    if (ownerBytes > 0) {
      this.#bytesByOwner.set(owner, ownerBytes);
    } else {
      this.#bytesByOwner.delete(owner);
    }
  }
}

/** A class, because every push makes one: closures cost twice as much. */
class AccountReservation implements Reservation {
  bytes: number;
  readonly #owner: string;
  readonly #account: Account;
  readonly #onFreed: () => void;
  #isReleased = false;

  constructor({ owner, bytes }: ReservationRequest, account: Account, onFreed: () => void) {
    this.bytes = bytes;
    this.#owner = owner;
    this.#account = account;
    this.#onFreed = onFreed;
    account.add(owner, bytes);
  }

  grow(bytes: number): boolean {
    const account = this.#account;
    const fits =
      !this.#isReleased &&
      account.fitsInAll(bytes, this.bytes) &&
      account.fitsOwner(this.#owner, bytes, this.bytes);
    if (fits) {
      account.add(this.#owner, bytes);
      this.bytes += bytes;
    } else {
      account.refusals += 1;
    }
    return fits;
  }

  settle(bytes: number): void {
    if (!this.#isReleased) {
      this.#account.add(this.#owner, bytes - this.bytes);
      this.bytes = bytes;
      this.#onFreed();
    }
  }

  release(): void {
    if (!this.#isReleased) {
      this.#isReleased = true;
      this.#account.add(this.#owner, -this.bytes);
      this.#onFreed();
    }
  }
}

/** Creates a budget without reservations. */
export function createByteBudget({ name, noun, limitBytes, ownerLimitBytes }: ByteBudgetOptions): ByteBudget {
  const account = new Account(limitBytes, ownerLimitBytes);
  const waitingByOwner = new Map<string, Set<Waiting>>();
  let waiting = 0;

  function fits({ owner, bytes }: ReservationRequest): boolean {
    return account.fitsInAll(bytes, 0) && account.fitsOwner(owner, bytes, 0);
  }

  function take(request: ReservationRequest): Reservation {
    return new AccountReservation(request, account, grantWaiting);
  }

  function grantWaiting(): void {
    if (waiting === 0) {
      return;
    }
    for (const [owner, requests] of waitingByOwner) {
      for (const request of requests) {
        if (!account.fitsInAll(request.bytes, 0)) {
          return;
        }
        if (!account.fitsOwner(owner, request.bytes, 0)) {
          break;
        }
        remove(request);
        request.grant(take(request));
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
    account.refusals += 1;
    return new LastseenError('ERR_QUEUE_FULL', `the server has no memory left for ${noun}: retry later`);
  }

  return {
    name,
    limitBytes,
    get reservedBytes() {
      return account.reservedBytes;
    },
    get waiting() {
      return waiting;
    },
    get refusals() {
      return account.refusals;
    },
    reserve(request) {
      if (fits(request)) {
        return take(request);
      }
      account.refusals += 1;
      return undefined;
    },
    async wait({ owner, bytes }, patience) {
      if (!waitingByOwner.has(owner) && fits({ owner, bytes })) {
        return take({ owner, bytes });
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
