import { performance } from 'node:perf_hooks';
import type { Warehouse } from './client.ts';
import { onCluster } from './cluster.ts';

/**
 * Keeps the identities of the rollups' views one and the same, whatever becomes of the server.
 *
 * ClickHouse makes the token of what a view inserts from the block's token and the view's identity. That is name and UUID
 * once the view has been created or altered, but the name alone after the server has read the view from its disk (seen in
 * 26.5 of chDB 3.4). A server killed while it wrote the rollups, and started again, would take the repeated block for
 * another one: its clicks would count twice in every rollup that had them. Altering a comment sets name and UUID.
 */
export interface ViewIdentities {
  /** To be awaited before every insert: does its work once for each run of the server. */
  settle(): Promise<void>;
  /** After a failure: the server may be in another run, even if its uptime does not show it. */
  forget(): void;
}

const COMMENT = 'its name and UUID are the identity in the tokens of the loader';
/** `uptime()` counts whole seconds: a restart that no call has met is longer ago. */
const UPTIME_PRECISION_MS = 1_000;

export function createViewIdentities(options: { warehouse: Warehouse; cluster: string }): ViewIdentities {
  const { warehouse, cluster } = options;
  /** By this process's clock, at the most `UPTIME_PRECISION_MS` late; undefined: not settled yet. */
  let serverStartMs: number | undefined;

  async function settleViews(): Promise<void> {
    const { rows: views } = await warehouse.query<{ name: string }>(
      "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView'",
    );
    for (const { name } of views) {
      const sql = `ALTER TABLE ${name} MODIFY COMMENT '${COMMENT}'`;
      await warehouse.command(cluster === '' ? sql : onCluster(sql, cluster));
    }
  }

  return {
    async settle() {
      const askedAtMs = performance.now();
      const { rows } = await warehouse.query<{ seconds: number }>('SELECT uptime() AS seconds');
      const startMs = askedAtMs - Number(rows[0]?.seconds) * 1_000;
      if (serverStartMs !== undefined && startMs <= serverStartMs + UPTIME_PRECISION_MS) {
        serverStartMs = Math.min(serverStartMs, startMs);
        return;
      }
      await settleViews();
      serverStartMs = startMs;
    },
    forget() {
      serverStartMs = undefined;
    },
  };
}
