import { formatApiKey } from '../../api/auth/api-key-view.ts';
import { SCOPES } from '../../api/http/scopes.ts';
import { formatId } from '../../api/schemas/ids.ts';
import { OperatingError } from '../../core/errors.ts';
import {
  type ApiKey,
  createApiKey,
  getApiKey,
  listApiKeys,
  type Role,
  revokeApiKeys,
} from '../../ledger/access/api-keys.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { lockRow } from '../../ledger/postgres/lock.ts';
import { getAffiliate } from '../../ledger/programs/affiliates.ts';
import { allRows } from '../all-rows.ts';
import { parseIntegerId } from '../ids.ts';
import { namingOptions } from '../input.ts';
import { withLedger } from '../stores.ts';
import { renderTable } from '../table.ts';

const NAME = 'afflux-api-keys';
const ACTOR = 'command line';
const OPTIONS = { name: '--name', role: '--role', program_id: '--program', affiliate_id: '--affiliate' };

/** `afflux keys add`: makes a key of the API and prints it, this once. */
export async function addApiKey(given: {
  role: Role;
  name: string;
  program?: string;
  affiliate?: string;
  scopes?: readonly string[];
  expires?: Date;
}): Promise<void> {
  const { role, name, scopes, expires } = given;
  const affiliateId = given.affiliate === undefined ? null : parseIntegerId('affiliate', given.affiliate);
  const asked = given.program === undefined ? null : parseIntegerId('program', given.program);
  const unknown = scopes?.find((scope) => !(SCOPES as readonly string[]).includes(scope));
  if (unknown !== undefined) {
    throw new OperatingError('usage', `--scopes: ${unknown} is none of ${SCOPES.join(', ')}`);
  }
  if (expires && expires.getTime() <= Date.now()) {
    throw new OperatingError('usage', '--expires: must be in the future');
  }
  await withLedger(NAME, async (ledger) => {
    const { key, apiKey } = await namingOptions(OPTIONS, () =>
      inTransaction(ledger, async (tx) => {
        const affiliate = affiliateId === null ? undefined : await getAffiliate(tx, affiliateId);
        const programId = asked ?? affiliate?.programId ?? null;
        const options = { role, name, programId, affiliateId, scopes, expiresAt: expires };
        const made = await createApiKey(tx, options);
        const after = formatApiKey(made.apiKey);
        await appendAuditLog(tx, { actor: ACTOR, action: 'api_key.create', subject: after.id, after });
        return made;
      }),
    );
    process.stdout.write(`${formatId('apiKey', apiKey.id)} is made. The key, shown this once:\n  ${key}\n`);
  });
}

/** `afflux keys list`: the keys of the API, one line each, without what is secret of them. */
export async function showApiKeys(options: { program?: string }): Promise<void> {
  const programId = options.program === undefined ? undefined : parseIntegerId('program', options.program);
  await withLedger(NAME, async (ledger) => {
    const keys = await allRows((request) => listApiKeys(ledger, { ...request, programId }));
    const rows = keys.map((key) => [
      formatId('apiKey', key.id),
      key.role,
      key.name,
      ownerOf(key),
      key.scopes?.join(',') ?? 'all scopes',
      stateOf(key),
    ]);
    process.stdout.write(rows.length > 0 ? `${renderTable(rows)}\n` : 'There are no keys.\n');
  });
}

function ownerOf({ programId, affiliateId }: ApiKey): string {
  if (affiliateId !== null) return formatId('affiliate', affiliateId);
  return programId === null ? 'every program' : formatId('program', programId);
}

function stateOf({ revokedAt, expiresAt }: ApiKey): string {
  if (revokedAt !== null) return `revoked ${revokedAt.toISOString()}`;
  if (expiresAt === null) return 'works';
  return `${expiresAt.getTime() > Date.now() ? 'works until' : 'expired'} ${expiresAt.toISOString()}`;
}

/** `afflux keys revoke`: at once and for ever. */
export async function revokeApiKey(text: string): Promise<void> {
  const id = parseIntegerId('apiKey', text);
  await withLedger(NAME, async (ledger) => {
    await inTransaction(ledger, async (tx) => {
      await lockRow(tx, 'api_keys', id);
      const key = await getApiKey(tx, id);
      if (!key) throw new OperatingError('not_found', `there is no key ${text}`);
      if (key.revokedAt !== null) throw new OperatingError('wrong_state', `${text} is revoked already`);
      await revokeApiKeys(tx, { ids: [id], now: new Date() });
      const before = formatApiKey(key);
      await appendAuditLog(tx, { actor: ACTOR, action: 'api_key.revoke', subject: before.id, before });
    });
    process.stdout.write(`${text} is revoked.\n`);
  });
}
