import { explainBlockedClicks } from '../../attribution/tools/blocking-entries.ts';
import { explainConversion } from '../../attribution/tools/explain.ts';
import { explainLaterCoupons } from '../../attribution/tools/later-coupons.ts';
import {
  type Difference,
  moneyDifference,
  type ReplayedDecision,
  replay,
} from '../../attribution/tools/replay.ts';
import { createWarehouseClicks } from '../../attribution/worker/click-source.ts';
import { createClickIdCodec } from '../../core/clicks/click-id.ts';
import { OperatingError } from '../../core/errors.ts';
import { verifyPlatformKeys } from '../../core/keys/platform-keys.ts';
import { formatAmount } from '../../core/money.ts';
import { printable } from '../../core/printable.ts';
import { listCommissions } from '../../ledger/books/commissions.ts';
import { getConversion } from '../../ledger/conversions/conversions.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { MAX_PAGE_ROWS } from '../../ledger/postgres/page.ts';
import { type AttributionModel, getTerms } from '../../ledger/programs/terms.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { readConfig } from '../environment.ts';
import { parseBigintId, parseIntegerId } from '../ids.ts';
import { withLedger, withWarehouse } from '../stores.ts';
import { renderTable } from '../table.ts';

const NAME = 'afflux-attribution';
/** A replay that changes everything is shown by its sums, not by a million lines. */
const SHOWN_DIFFERENCES = 50;

/** `afflux attribution explain`: how a conversion was decided. */
export async function explain(text: string): Promise<void> {
  const id = parseBigintId('conversion', text);
  await withLedger(NAME, async (ledger) => {
    const conversion = await getConversion(ledger, id);
    if (!conversion) throw new OperatingError('not_found', `there is no conversion cnv_${id}`);
    const { rows } = await listCommissions(ledger, { conversionId: id, limit: MAX_PAGE_ROWS });
    const [terms] = conversion.termsId === null ? [] : await getTerms(ledger, [conversion.termsId]);
    const commissions = rows.toSorted((a, b) => a.level - b.level || a.part - b.part);
    const lines = [
      ...explainConversion({ conversion, commissions, terms }),
      ...(await explainBlockedClicks(ledger, conversion)),
      ...(await explainLaterCoupons(ledger, conversion)),
    ];
    process.stdout.write(`${lines.map(printable).join('\n')}\n`);
  });
}

/** `afflux attribution replay`: differences to the stored decisions; exit code 1 when there are any under the same rules. */
export async function replayDecisions(options: {
  from: Date;
  to: Date;
  model?: AttributionModel | undefined;
  program?: string | undefined;
}): Promise<void> {
  const config = readConfig();
  const { from, to, model, program } = options;
  const programId = program === undefined ? undefined : parseIntegerId('program', program);
  await withStores(async (ledger, warehouse) => {
    await verifyPlatformKeys(ledger, [{ kind: 'click', keys: config.clickKeys }]);
    const clicks = createWarehouseClicks(warehouse);
    const clickIds = createClickIdCodec(config.clickKeys);
    const result = await replay({ ledger, clicks, clickIds, from, to, model, programId });
    const { conversions, skipped, differences } = result;
    const shown = differences
      .slice(0, SHOWN_DIFFERENCES)
      .map((difference) => printable(describeDifference(difference)));
    const money = moneyDifference(differences).map(({ affiliateId, currency, amountMinor }) => [
      `aff_${affiliateId}`,
      `${amountMinor > 0n ? '+' : ''}${formatAmount(amountMinor, currency)} ${currency}`,
    ]);
    process.stdout.write(
      `${[...shown, renderTable(money)].filter((line) => line !== '').join('\n')}
${conversions} conversions decided again, ${skipped} without evidence, ${differences.length} would be decided differently. Nothing was written.\n`,
    );
    if (model === undefined && differences.length > 0) process.exitCode = 1;
  });
}

async function withStores(work: (ledger: Database, warehouse: Warehouse) => Promise<void>): Promise<void> {
  await withWarehouse(NAME, (warehouse) => withLedger(NAME, (ledger) => work(ledger, warehouse)));
}

function describeDifference({ conversionId, orderId, currency, before, after }: Difference): string {
  const side = ({ outcome, reason, commissions }: ReplayedDecision): string => {
    const earned = commissions.map(
      ({ affiliateId, amountMinor }) => `aff_${affiliateId} ${formatAmount(amountMinor, currency)}`,
    );
    return `${outcome}${reason === null ? '' : ` (${reason})`}${earned.length === 0 ? '' : `: ${earned.join(', ')}`}`;
  };
  return `cnv_${conversionId}, order ${orderId}: ${side(before)} → ${side(after)}`;
}
