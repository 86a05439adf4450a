import { performance } from 'node:perf_hooks';
import type { Warehouse } from './client.ts';

/**
 * Keeps the identities of the rollups' views one and the same, whatever becomes of the server.
 *
 * ClickHouse makes the token of what a view inserts from the block's token and the view's identity. That is name and UUID
 * once the view has been created or altered, but the name alone after the server has read the view from its disk (seen in
 * 26.5 of chDB 3.4). A server killed while it wrote the rollups, and started again, would take the repeated block for
 * another one: its clicks would count twice in every rollup that had them. Altering a comment sets name and UUID.
 */
export interface ViewIdentities {
  /** To be awaited before every insert into `server`: does its work once for each run of it. */
  settle(server: Warehouse): Promise<void>;
  /** After a failure: the server may be in another run, even if its uptime does not show it. */
  forget(): void;
}

const COMMENT = 'its name and UUID are the identity in the tokens of the loader';
/** `uptime()` counts whole seconds: a restart that no call has met is longer ago. */
const UPTIME_PRECISION_MS = 1_000;

export function createViewIdentities(): ViewIdentities {
  /** By this process's clock, at the most `UPTIME_PRECISION_MS` late; undefined: not settled yet. */
  let settled: { readonly server: string; readonly startMs: number } | undefined;

  /** Views are not replicated: each server reads its own from its disk. */
  async function settleViews(server: Warehouse): Promise<void> {
    const { rows: views } = await server.query<{ name: string }>(
      "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView'",
    );
    for (const { name } of views) await server.command(`ALTER TABLE ${name} MODIFY COMMENT '${COMMENT}'`);
  }

  return {
    async settle(server) {
      const askedAtMs = performance.now();
      const { rows } = await server.query<{ seconds: number; id: string }>(
        'SELECT uptime() AS seconds, toString(serverUUID()) AS id',
      );
      const startMs = askedAtMs - Number(rows[0]?.seconds) * 1_000;
      const id = rows[0]?.id ?? '';
      if (settled?.server === id && startMs <= settled.startMs + UPTIME_PRECISION_MS) {
        settled = { server: id, startMs: Math.min(settled.startMs, startMs) };
        return;
      }
      await settleViews(server);
      settled = { server: id, startMs };
    },
    forget() {
      settled = undefined;
    },
  };
}
