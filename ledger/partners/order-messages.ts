import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';

/** Questions of a partner about an order, and the answers. */

export interface OrderMessage {
  readonly id: bigint;
  readonly conversionId: bigint;
  readonly affiliateId: number;
  readonly author: 'affiliate' | 'program';
  readonly text: string;
  readonly createdAt: Date;
  /** A question that waits for an answer. */
  readonly isOpen: boolean;
}

/** Of the affiliate about an order: a longer exchange belongs into a conversation. What the program may say has no limit. */
export const MAX_ASKED = 100;
/** Of an affiliate, about all its orders: more are not answered sooner. */
export const MAX_OPEN = 20;
/** More are read nowhere. */
const MOST_SHOWN = 1_000;

/** The messages about an order, the oldest first; of very many the last. */
export async function listOrderMessages(sql: DatabaseSql, conversionId: bigint): Promise<OrderMessage[]> {
  return await sql<OrderMessage[]>`
    select * from (
      select id, conversion_id, affiliate_id, author, text, created_at, is_open from order_messages
      where conversion_id = ${conversionId} order by id desc limit ${MOST_SHOWN}
    ) as last order by id`;
}

/** How many messages an affiliate has written about an order, and how many of its questions are open: of the order, and in all. */
export async function countQuestions(
  sql: DatabaseSql,
  { conversionId, affiliateId }: Pick<OrderMessage, 'conversionId' | 'affiliateId'>,
): Promise<{ asked: number; openHere: number; open: number }> {
  const [row] = await sql<[{ asked: number; openHere: number; open: number }]>`
    select
      (select count(*)::integer from order_messages where conversion_id = ${conversionId} and author = 'affiliate') as asked,
      count(*) filter (where conversion_id = ${conversionId})::integer as open_here, count(*)::integer as open
    from order_messages where affiliate_id = ${affiliateId} and is_open`;
  return row;
}

/** Closes the open questions about an order, answered or not. Returns how many there were. */
export async function closeQuestions(tx: DatabaseTransaction, conversionId: bigint): Promise<number> {
  return await tx`
    update order_messages set is_open = false where conversion_id = ${conversionId} and is_open`.affected();
}

/** Writes a message; one of the program answers every open question about the order. */
export async function writeOrderMessage(
  tx: DatabaseTransaction,
  message: Pick<OrderMessage, 'conversionId' | 'affiliateId' | 'author' | 'text'> & {
    readonly programId: number;
    readonly actor: string;
  },
): Promise<bigint> {
  const { conversionId, author } = message;
  const [made] = await tx<[{ id: bigint }]>`
    insert into order_messages ${tx.values({ ...message, isOpen: author === 'affiliate' })} returning id`;
  if (author === 'program') await closeQuestions(tx, conversionId);
  return made.id;
}

/** A question that waits for an answer, with whose order it is about. */
export interface OpenQuestion extends OrderMessage {
  readonly programId: number;
  readonly orderId: string;
  readonly affiliateName: string;
}

/** Open questions, the longest waiting first. */
export async function listOpenQuestions(
  sql: DatabaseSql,
  request: PageRequest<bigint> & { programId?: number | undefined },
): Promise<Page<OpenQuestion, bigint>> {
  const { after = 0n, programId = null } = request;
  const rows = await sql<OpenQuestion[]>`
    select m.id, m.conversion_id, m.affiliate_id, m.author, m.text, m.created_at, m.is_open, m.program_id, c.order_id,
      f.name as affiliate_name
    from order_messages m join conversions c on c.id = m.conversion_id join affiliates f on f.id = m.affiliate_id
    where m.is_open and m.id > ${after} and (${programId}::integer is null or m.program_id = ${programId})
    order by m.id limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}
