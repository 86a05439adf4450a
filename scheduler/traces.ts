import type { Telemetry } from '../core/telemetry/telemetry.ts';
import type { Payout } from '../ledger/payouts/payouts.ts';
import type { Database } from '../ledger/postgres/db.ts';

/** Orders that a payout's span has links to; the SDK keeps no more. */
const MAX_LINKS = 128;

/** Sends a span for each payout that a run handed over, with links to the orders that it pays for. */
export async function tracePayouts(
  telemetry: Telemetry,
  ledger: Database,
  { payouts, tookMs }: { payouts: readonly Payout[]; tookMs: number },
): Promise<void> {
  if (!telemetry.isTracing) return;
  const sent = payouts.filter(({ id }) => telemetry.isSampled(telemetry.ids.payout(id).traceId));
  // No payout fails for the links of its span.
  const orders = await ordersOf(
    ledger,
    sent.map(({ id }) => id),
  ).catch(() => new Map<bigint, bigint[]>());
  for (const { id, state, affiliateId } of sent) {
    telemetry.record({
      ...telemetry.ids.payout(id),
      name: 'payout',
      links: (orders.get(id) ?? []).map((conversionId) => telemetry.ids.order(conversionId)),
      attributes: {
        'afflux.payout': `pay_${id}`,
        'afflux.state': state,
        'afflux.affiliate': `aff_${affiliateId}`,
      },
      tookMs,
    });
  }
}

async function ordersOf(ledger: Database, payoutIds: readonly bigint[]): Promise<Map<bigint, bigint[]>> {
  if (payoutIds.length === 0) return new Map();
  const rows = await ledger<{ payoutId: bigint; conversionIds: bigint[] }[]>`
    select p.id as payout_id, array(
      select c.conversion_id from payout_items i join commissions c on c.id = i.commission_id
      where i.payout_id = p.id order by c.conversion_id limit ${MAX_LINKS}
    ) as conversion_ids
    from payouts p where p.id = any(${payoutIds}::bigint[])`;
  return new Map(rows.map(({ payoutId, conversionIds }) => [payoutId, conversionIds.map(BigInt)]));
}
