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

/** A longer exchange belongs into a conversation. */
export const MAX_MESSAGES = 100;

/** The messages about an order, the oldest first. */
export async function listOrderMessages(sql: DatabaseSql, conversionId: bigint): Promise<OrderMessage[]> {
  return await sql<OrderMessage[]>`
    select id, conversion_id, affiliate_id, author, text, created_at, is_open from order_messages
    where conversion_id = ${conversionId} order by id limit ${MAX_MESSAGES}`;
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
  if (author === 'program') {
    await tx`update order_messages set is_open = false where conversion_id = ${conversionId} and is_open`;
  }
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
