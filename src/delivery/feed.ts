/** What a session follows, and how a protocol encodes it. */
import type { LogEvent } from '../log/event.ts';
import type { Place } from '../log/place.ts';
import type { Subscription } from '../log/subscription.ts';

/**
 * Encodes a subscription for a protocol. Each method returns bytes, or `undefined` if the protocol sends
 * nothing.
 */
export interface FeedEncoder {
  /** Encodes events. Several sessions may pass the same array, so an encoder may cache its frame. */
  events(events: readonly LogEvent[]): Uint8Array | undefined;
  /**
   * Encodes the frame that says that the reader has reached the tail. The session calls it once for each
   * subscription.
   */
  live(place: Place): Uint8Array | undefined;
}

/** A subscription to one access_id. */
export interface FeedRequest {
  readonly accessId: string;
  /** Exclusive start. */
  readonly after: Place;
  readonly encoder: FeedEncoder;
  /**
   * Name of the subscription in the protocol. Default: the access_id. A protocol that allows two
   * subscriptions to one access_id passes different names.
   */
  readonly name?: string;
}

/** A subscription to one or several access_ids. */
export interface SubscriptionRequest {
  readonly name: string;
  /** Opens the subscription. The subscription calls `onMore` when it has events again. */
  readonly open: (onMore: () => void) => Subscription;
  readonly encoder: FeedEncoder;
  /** The access_ids that drops and the list of clients use for this subscription. */
  readonly accessIds: readonly string[];
}
