/** What must be true of a log after any faults: it holds what was acknowledged, and its followers got it. */
import assert from 'node:assert/strict';
import type { EngineDatabase } from '../engines/each-engine.ts';
import { type Connector, type Follower, untilExact } from '../support/load.ts';
import { runCommand } from '../support/process.ts';

interface Row {
  readonly position: number;
  readonly access_id: string;
  readonly version: number;
  readonly event_id: string;
}

/** Feeds and what followed each of them. */
export type Followers = ReadonlyMap<string, readonly Follower[]>;

export interface ChaosResult {
  readonly connectors: readonly Connector[];
  readonly followers: Followers;
}

/**
 * Checks that the log is exactly what the connectors were acknowledged (G1, G2, G4, G5), that each follower got its feed
 * (G3), and that `lastseen verify` finds no fault. The connectors have stopped. Returns the number of events.
 */
export async function checkChaos(
  database: Pick<EngineDatabase, 'rows' | 'settings'>,
  { connectors, followers }: ChaosResult,
): Promise<number> {
  const rows = (await database.rows(
    `select cast(position as integer) as position, access_id, cast(version as integer) as version, event_id
     from events order by events.position`,
  )) as Row[];
  const positions = checkNumbers(rows);
  for (const connector of connectors) {
    checkOrder(connector, positions);
  }
  const acknowledged = connectors.reduce((sum, connector) => sum + connector.acknowledged.length, 0);
  assert.equal(rows.length, acknowledged, 'the log holds nothing but the acknowledged events');
  for (const [accessId, list] of followers) {
    const ids = rows.filter((row) => row.access_id === accessId).map((row) => row.event_id);
    for (const follower of list) {
      await untilExact(follower, ids.length);
      assert.deepEqual(
        follower.events.map((event) => [event.id, event.payload]),
        ids.map((id) => [id, id]),
      );
    }
  }
  const { code, stderr } = await runCommand(['verify'], database.settings);
  assert.equal(code, 0, stderr);
  return rows.length;
}

/** Positions and versions without holes, and each id once. Returns the position of each id. */
function checkNumbers(rows: readonly Row[]): ReadonlyMap<string, number> {
  const versions = new Map<string, number>();
  const positions = new Map<string, number>();
  for (const [index, row] of rows.entries()) {
    const version = (versions.get(row.access_id) ?? 0) + 1;
    if (row.position !== index + 1 || row.version !== version || positions.has(row.event_id)) {
      assert.deepEqual(
        { ...row, isRepeated: positions.has(row.event_id) },
        { ...row, position: index + 1, version, isRepeated: false },
      );
    }
    versions.set(row.access_id, version);
    positions.set(row.event_id, row.position);
  }
  return positions;
}

/** A connector's events are in the log in the order in which it pushed them, each batch in one piece. */
function checkOrder({ acknowledged, batchEvents }: Connector, positions: ReadonlyMap<string, number>): void {
  let last = 0;
  for (const [index, id] of acknowledged.entries()) {
    const position = positions.get(id);
    assert.ok(position !== undefined, `${id} was acknowledged and is lost`);
    const isFirst = index % batchEvents === 0;
    if (isFirst ? position <= last : position !== last + 1) {
      assert.fail(
        `${id} is at position ${position}, and ${acknowledged[index - 1] ?? ''} before it at ${last}`,
      );
    }
    last = position;
  }
}
