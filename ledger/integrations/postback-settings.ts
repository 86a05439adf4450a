import type { JsonValue } from '../../core/postgres/sql.ts';
import type { DatabaseSql } from '../postgres/db.ts';

/** How a program's shop reports orders. */
export interface PostbackSettings {
  readonly programId: number;
  /** Their name of a parameter to ours, or to `field` (ours) with how its values are written. */
  readonly parameters: Readonly<Record<string, JsonValue>>;
  /** Networks that calls may come from; empty: any. */
  readonly allowedIps: readonly string[];
  /** Whether a call must be signed; a key in the URL or a header is not enough then. */
  readonly requireSignature: boolean;
  /** Whether the customer's browser may report orders. */
  readonly pixel: boolean;
}

/** A program that has set nothing has these. */
function defaults(programId: number): PostbackSettings {
  return { programId, parameters: {}, allowedIps: [], requireSignature: false, pixel: false };
}

export async function getPostbackSettings(sql: DatabaseSql, programId: number): Promise<PostbackSettings> {
  const [settings] = await sql<PostbackSettings[]>`
    select program_id, parameters, allowed_ips::text[] as allowed_ips, require_signature, pixel
    from postback_settings where program_id = ${programId}`;
  return settings ?? defaults(programId);
}

/** Replaces all of a program's settings. An address within a network stands for the network. */
export async function setPostbackSettings(sql: DatabaseSql, settings: PostbackSettings): Promise<void> {
  const { programId, parameters, allowedIps, requireSignature, pixel } = settings;
  await sql`
    insert into postback_settings (program_id, parameters, allowed_ips, require_signature, pixel)
    values (${programId}, ${sql.json(parameters)},
      (select coalesce(array_agg(network(address::inet)), '{}') from unnest(${[...allowedIps]}::text[]) as address),
      ${requireSignature}, ${pixel})
    on conflict (program_id) do update set parameters = excluded.parameters, allowed_ips = excluded.allowed_ips,
      require_signature = excluded.require_signature, pixel = excluded.pixel`;
}
