import { createHash, randomUUID } from 'node:crypto';
import { createSecretBox, type SecretBox } from '../../core/secret-box.ts';
import { recordConversion } from '../../ledger/conversions/conversions.ts';
import { type Decision, type RecordedDecision, recordDecisions } from '../../ledger/decisions/decisions.ts';
import { encryptPayoutDetails, type PayoutDetails, setPayoutMethod } from '../../ledger/payouts/methods.ts';
import {
  connectDatabase,
  connectOwner,
  type Database,
  type DatabaseSql,
  type DatabaseTransaction,
  inTransaction,
} from '../../ledger/postgres/db.ts';
import { createAffiliate } from '../../ledger/programs/affiliates.ts';
import { createCampaign } from '../../ledger/programs/campaigns.ts';
import { createLink } from '../../ledger/programs/links.ts';
import { createProgram, updateProgram } from '../../ledger/programs/programs.ts';
import { type NewTerms, setTerms } from '../../ledger/programs/terms.ts';
import { freshLedgerDatabase } from './engines.ts';

/** A migrated ledger of a test's own. */
export interface TestLedger {
  readonly ledger: Database;
  /** The same database as the owner of its tables. */
  readonly owner: Database;
  /** As the owner. */
  readonly url: string;
  /** As processes log in. */
  readonly appUrl: string;
  close(): Promise<void>;
}

/** @param options.max Connections of the ledger's pool. */
export async function freshLedger(options: { max: number }): Promise<TestLedger> {
  const database = await freshLedgerDatabase();
  const { url, appUrl } = database;
  const ledger = await connectDatabase({ url: appUrl, max: options.max, name: 'test' });
  const owner = await connectOwner({ url, name: 'test-owner' });
  async function close(): Promise<void> {
    await ledger.end({ timeoutMs: 1_000 });
    await owner.end({ timeoutMs: 1_000 });
    await database.drop();
  }
  return { ledger, owner, url, appUrl, close };
}

/** A program with one campaign, an active affiliate with two active ancestors, its link, and terms. */
export interface TestParties {
  readonly programId: number;
  readonly campaignId: number;
  readonly linkId: number;
  /** Level 1, its parent, its grandparent. */
  readonly chain: readonly [number, number, number];
  readonly termsId: number;
}

/** What the payout methods of tests are encrypted with. */
export const TEST_DATA_KEY = Buffer.alloc(32, 7);
export const TEST_SECRET_BOX = createSecretBox([TEST_DATA_KEY]);

/** Gives an affiliate a payout method that is paid at once, whatever hold its program has. */
export async function givePayoutMethod(
  ledger: Database,
  affiliateId: number,
  details: PayoutDetails = { kind: 'bank', holder: 'Ann Example', iban: 'DE89370400440532013000' },
  secretBox: SecretBox = TEST_SECRET_BOX,
): Promise<void> {
  await inTransaction(ledger, async (tx) => {
    const [program] = await tx<{ id: number; days: number }[]>`
      select p.id, p.payout_method_hold_days as days
      from programs p join affiliates f on f.program_id = p.id where f.id = ${affiliateId}`;
    if (!program) throw new Error('the affiliate exists');
    await updateProgram(tx, { id: program.id, changes: { payoutMethodHoldDays: 0 } });
    await setPayoutMethod(tx, {
      affiliateId,
      kind: details.kind,
      details: encryptPayoutDetails(secretBox, details),
      // Of its own, so that no order looks as if it were paid from there.
      accountHash: createHash('sha256').update(randomUUID()).digest(),
      hint: 'DE … 3000',
      changedBy: 'test',
    });
    await updateProgram(tx, { id: program.id, changes: { payoutMethodHoldDays: program.days } });
  });
}

/**
 * Creates a program in EUR (by default) with the parties of {@link TestParties}, who have payout methods; by default
 * payouts of any amount, no hold.
 */
export async function createParties(
  ledger: Database,
  terms: Partial<NewTerms> = {},
  currency = 'EUR',
): Promise<TestParties> {
  const program = await createProgram(ledger, { name: 'Shop', currency });
  const programId = program.id;
  const campaign = await createCampaign(ledger, {
    programId,
    name: 'Spring',
    landingUrl: 'https://shop.example/',
  });
  const join = async (name: string, parentId: number | null) =>
    (
      await createAffiliate(ledger, {
        programId,
        name,
        parentId,
        refCode: name,
        email: `${name}@example.com`,
        status: 'active',
      })
    ).id;
  const grandparent = await join('grandparent', null);
  const parent = await join('parent', grandparent);
  const affiliateId = await join('affiliate', parent);
  for (const id of [affiliateId, parent, grandparent]) await givePayoutMethod(ledger, id);
  const link = await createLink(ledger, {
    campaignId: campaign.id,
    affiliateId,
    landingUrl: 'https://shop.example/',
  });
  const { id: termsId } = await setTerms(ledger, { programId, holdDays: 0, payoutMinMinor: 1n, ...terms });
  return {
    programId,
    campaignId: campaign.id,
    linkId: link.id,
    chain: [affiliateId, parent, grandparent],
    termsId,
  };
}

/** Orders of the past, the newest a step before `nowMs`, of affiliates 1 to 3 in turn: past all checks of the books, of which they need none. */
export async function addPastOrders(
  { owner }: Pick<TestLedger, 'owner'>,
  options: {
    campaignId: number;
    name: string;
    nowMs: number;
    orders: number;
    everyMinutes: number;
    /** An order follows its click by 0 to 42 times so many. */
    clickMinutes: number;
  },
): Promise<void> {
  const { campaignId, name, nowMs, orders, everyMinutes, clickMinutes } = options;
  await owner.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`
      insert into conversions (program_id, currency, order_id, amount_minor, payload_hash, state, source, occurred_at,
        received_at, decided_at, click_ts, click_node, click_seq, click_ip, campaign_id, affiliate_id, link_id, terms_id,
        next_attempt_at)
      select 1, 'EUR', ${name} || i, 100, decode(repeat('ab', 32), 'hex'), 'attributed', 'postback', t, t, t,
        t - make_interval(mins => ${clickMinutes}::integer * (i % 43)), 1, i, '1.2.3.4', ${campaignId}::integer, 1 + i % 3, 1, 1, null
      from (
        select i, ${new Date(nowMs)}::timestamptz - make_interval(mins => ${everyMinutes}::integer * i) as t
        from generate_series(1, ${orders}::integer) i
      ) s`;
  });
}

/** While no other transaction can read the orders. */
export async function whileOrdersAreLocked(
  { owner }: Pick<TestLedger, 'owner'>,
  use: () => Promise<void>,
): Promise<void> {
  await owner.begin(async (tx) => {
    await tx`lock table conversions in access exclusive mode`;
    await use();
  });
}

/**
 * How many sessions wait for a lock, of the table `relation` where it is named, in this database: other tests share the
 * server, and tables of databases that were copied have one number.
 */
export async function waitingForLocks(sql: DatabaseSql, relation?: string): Promise<number> {
  // Within a transaction the sessions are otherwise those of its first look.
  await sql`select pg_stat_clear_snapshot()`;
  const ofTable = relation === undefined ? sql`` : sql`and l.relation = ${relation}::regclass`;
  const [{ count }] = await sql<[{ count: number }]>`
    select count(*)::integer as count from pg_locks l join pg_stat_activity a using (pid)
    where not l.granted and a.datname = current_database() ${ofTable}`;
  return count;
}

/** Records an order of these parties and decides it; returns the conversion's id. */
export async function creditOrder(
  ledger: Database,
  parties: TestParties,
  order: {
    amountMinor: bigint;
    orderId?: string;
    outcome?: Decision['outcome'];
    reason?: Decision['reason'];
    clickIp?: string;
    currency?: string;
    paidOutside?: boolean;
  },
): Promise<bigint> {
  const {
    amountMinor,
    orderId = randomUUID(),
    outcome = 'attributed',
    reason = null,
    currency = 'EUR',
    paidOutside,
  } = order;
  const { conversion } = await recordConversion(ledger, {
    programId: parties.programId,
    orderId,
    amountMinor,
    currency,
    source: 'api',
  });
  await inTransaction(ledger, (tx) =>
    recordDecision(tx, {
      ...decisionFor(parties, conversion.id, { outcome, reason, clickIp: order.clickIp }),
      paidOutside,
    }),
  );
  return conversion.id;
}

/** One decision, as a batch of its own. */
export async function recordDecision(tx: DatabaseTransaction, decision: Decision): Promise<RecordedDecision> {
  const [recorded] = await recordDecisions(tx, [decision]);
  if (!recorded) throw new Error('a decision has an answer');
  return recorded;
}

/** A decision that credits the parties' link. */
export function decisionFor(
  parties: TestParties,
  conversionId: bigint,
  options: {
    outcome: Decision['outcome'];
    reason: Decision['reason'];
    clickIp?: string | undefined;
  },
): Decision {
  const { outcome, reason, clickIp = '203.0.113.7' } = options;
  return {
    conversionId,
    outcome,
    reason,
    evidence: { test: true },
    termsId: parties.termsId,
    now: new Date(),
    click: {
      ts: Date.now() - 60_000,
      node: 1,
      // Any number does; this one differs from order to order.
      seq: createHash('sha256').update(String(conversionId)).digest().readUInt32BE(0),
      ip: clickIp,
      linkId: parties.linkId,
      campaignId: parties.campaignId,
      affiliateId: parties.chain[0],
    },
  };
}
