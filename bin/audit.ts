import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../core/config.ts';
import { connectNats } from '../core/stream.ts';
import { auditLedger } from '../ledger/audit.ts';
import { connectLedger, type Ledger } from '../ledger/db.ts';
import { type ConversionSums, conversionSums, outboxLag } from '../ledger/outbox.ts';
import { type Proof, recordProofs } from '../ledger/proofs.ts';
import { auditWarehouse, type WarehouseCheck } from '../warehouse/audit.ts';
import { connectWarehouse, type Warehouse } from '../warehouse/client.ts';
import { mirrorSums } from '../warehouse/mirror.ts';
import { checkSignedCounts, signDailyCounts } from '../warehouse/signed-counts.ts';
import { readWatermark } from '../warehouse/watermark.ts';
import { readConfig } from './environment.ts';
import { renderTable } from './table.ts';

/** What `afflux audit --json` prints. */
export interface AuditReport {
  readonly ok: boolean;
  readonly at: string;
  /** Every click older than this was compared; null before the first. */
  readonly complete_to: string | null;
  readonly checks: readonly Proof[];
}

/** `afflux audit`: prints the gap report of the clicks and the proof of the ledger; exit code 1 when anything is off. */
export async function audit(options: { json: boolean }): Promise<void> {
  const report = await runAudit(readConfig());
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : `${describe(report)}\n`);
  if (!report.ok) process.exitCode = 1;
}

/** Every check of both stores, and keeps what they found for the dashboards; may run while the platform works. */
export async function runAudit(config: Config): Promise<AuditReport> {
  const nc = await connectNats({ url: config.natsUrl, name: 'afflux-audit' });
  const warehouse = await connectWarehouse({ url: config.clickhouseUrl, name: 'afflux-audit' });
  const ledger = await connectLedger({ url: config.databaseUrl, max: 1, name: 'afflux-audit' });
  try {
    const completeTo = await readWatermark(warehouse);
    const clicks = [
      ...(await auditWarehouse({ warehouse, nc })),
      await checkMirror({ warehouse, ledger }),
      await checkDailyCounts({ warehouse, home: config.home }),
    ];
    const books = await auditLedger(ledger);
    const checks = [
      ...clicks.map(({ name, ok, detail }) => ({ store: 'clicks' as const, name, ok, detail })),
      ...books.map(({ name, ok, detail }) => ({ store: 'ledger' as const, name, ok, detail })),
    ];
    const at = new Date();
    await recordProofs(ledger, at, checks);
    return {
      ok: checks.every((check) => check.ok),
      at: at.toISOString(),
      complete_to: completeTo === undefined ? null : new Date(completeTo).toISOString(),
      checks,
    };
  } finally {
    await Promise.all([nc.close(), warehouse.close(), ledger.end()]);
  }
}

/** Changes reach the mirror within a second; what differs this many looks in a row is a difference. */
const MIRROR_LOOKS = 5;
const MIRROR_PAUSE_MS = 1_000;

/** Conversions in the warehouse against those in the books, by program and state. */
async function checkMirror(stores: { warehouse: Warehouse; ledger: Ledger }): Promise<WarehouseCheck> {
  const name = 'mirror of conversions';
  for (let look = 1; ; look++) {
    const booked = (await conversionSums(stores.ledger)).map(describeSums);
    const mirrored = new Set((await mirrorSums(stores.warehouse)).map(describeSums));
    const missing = booked.find((sums) => !mirrored.delete(sums));
    const [surplus] = mirrored;
    if (missing === undefined && surplus === undefined) {
      return { name, ok: true, detail: `equal to the books in ${booked.length} sums` };
    }
    if (look === MIRROR_LOOKS) {
      const { waiting } = await outboxLag(stores.ledger);
      return { name, ok: false, detail: `books: ${missing}; mirror: ${surplus}; ${waiting} changes wait` };
    }
    await sleep(MIRROR_PAUSE_MS);
  }
}

function describeSums(sums: ConversionSums): string {
  const { programId, state, conversions, amountMinor, refundedMinor, commissionMinor } = sums;
  return `program ${programId}, ${state}: ${conversions} of ${amountMinor}, refunded ${refundedMinor}, commission ${commissionMinor}`;
}

/** Signs the days that are complete, and counts those signed before again. */
async function checkDailyCounts(options: { warehouse: Warehouse; home: string }): Promise<WarehouseCheck> {
  const key = readOrCreateSigningKey(options.home);
  const signed = await signDailyCounts(options.warehouse, { key, now: Date.now() });
  const { compared, fault } = await checkSignedCounts(options.warehouse, { key: createPublicKey(key) });
  const detail = fault ?? `${compared} signed counts found again, ${signed} of them signed now`;
  return { name: 'daily counts', ok: fault === undefined, detail };
}

/** The Ed25519 key in AFFLUX_HOME/count-key.pem; its public half is beside it, to be given to affiliates. */
function readOrCreateSigningKey(home: string): KeyObject {
  const file = join(home, 'count-key.pem');
  if (!existsSync(file)) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    mkdirSync(home, { recursive: true });
    writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' });
    writeFileSync(join(home, 'count-key.pub.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
  }
  return createPrivateKey(readFileSync(file));
}

function describe(report: AuditReport): string {
  const rows = report.checks.map(({ store, name, ok, detail }) => [ok ? 'ok' : 'OFF', store, name, detail]);
  const verdict = report.ok ? 'Everything adds up.' : 'Something is off: see the lines marked OFF.';
  return `${renderTable(rows)}\n\n${verdict} Clicks complete to ${report.complete_to ?? 'nothing yet'}.`;
}
