import { Counter, type Registry } from 'prom-client';
import type { Logger } from '../../core/service/log.ts';
import { type Query, ServerFault, type Transport } from './transport.ts';

/**
 * The engine syncs the files of a part to disk, but not those of its projections (ClickHouse issue 111318): after a power cut
 * they can be empty or zeros, in a part that is whole. What it notices at its start it leaves out by itself. A file whose size
 * is right is noticed by the reads that need it, and they fail until the projection is made again.
 */

/** A projection with a file that cannot be read. */
export interface BrokenProjection {
  readonly table: string;
  readonly projection: string;
  /** What the engine says, with the part. */
  readonly reason: string;
}

/**
 * The numbers of errors that a damaged file causes: data that ends too early (32, 33), a checksum (40), a size (49, 117, 131),
 * no file (107, 226), corrupted data (246, 271), a codec that does not exist (432). Each has other causes too, but not while a
 * projection is read.
 */
const FILE_FAULTS: ReadonlySet<number> = new Set([32, 33, 40, 49, 107, 117, 131, 226, 246, 271, 432]);

/** The read without projections: slower, and as right. */
const WITHOUT_PROJECTIONS = { optimize_use_projections: 0 } as const;

/** The projection whose damaged file is the cause of an error, if it is one. */
function brokenProjectionOf(error: unknown): BrokenProjection | undefined {
  if (!(error instanceof ServerFault && FILE_FAULTS.has(error.number))) return undefined;
  const projection = /\/(\w+)\.proj\//.exec(error.message)?.[1];
  if (projection === undefined) return undefined;
  const table = / in table (?:\S+\.)?`?(\w+)`? /.exec(error.message)?.[1] ?? 'unknown';
  return { table, projection, reason: error.message };
}

/** A transport of reads that asks once more, without projections, where a projection cannot be read. */
export function withoutBrokenProjections<Request extends Query>(
  transport: Transport<Request>,
  onBroken: (broken: BrokenProjection) => void,
): Transport<Request> {
  return {
    async send(request) {
      try {
        return await transport.send(request);
      } catch (error) {
        const broken = brokenProjectionOf(error);
        if (!broken) throw error;
        onBroken(broken);
        return await transport.send({
          ...request,
          settings: { ...request.settings, ...WITHOUT_PROJECTIONS },
        });
      }
    },
    close: () => transport.close(),
  };
}

/** Logs and counts the reads that had to do without a projection. */
export function reportBrokenProjections(options: {
  metrics: Registry;
  log: Logger;
}): (broken: BrokenProjection) => void {
  const { metrics, log } = options;
  const reads = new Counter({
    name: 'afflux_warehouse_broken_projection_reads_total',
    help: 'Reads of ClickHouse that were asked again without projections, because a file of one is damaged, by table and projection',
    labelNames: ['table', 'projection'] as const,
    registers: [metrics],
  });
  return ({ table, projection, reason }) => {
    reads.inc({ table, projection });
    log.error(
      { table, projection, reason },
      'a projection cannot be read; the read is done without (docs/runbooks.md#broken-projection)',
    );
  };
}
