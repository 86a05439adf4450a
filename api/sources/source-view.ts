import { z } from 'zod';
import { hideSecrets } from '../../core/secret-forms.ts';
import { SOURCE_STATUSES, type Source, type SourceState } from '../../ledger/integrations/sources.ts';
import { parseForm } from '../http/bodies.ts';
import { loggedParams } from '../orders/call-log.ts';
import { formatId, idText } from '../schemas/ids.ts';
import { formatOptionalTime, formatTime, timeText } from '../schemas/schemas.ts';
import { exampleOf } from './kinds/examples.ts';
import { kindOf, SOURCE_KINDS, type SourceKindName } from './kinds/index.ts';
import type { Reading } from './read-call.ts';
import type { SentRequest } from './sent-request.ts';

/** A source, and what its calls are, in answers. */

export const sourceView = z
  .object({
    id: idText('source'),
    program_id: idText('program'),
    kind: z.enum(SOURCE_KINDS),
    name: z.string(),
    status: z.enum(SOURCE_STATUSES),
    url: z.string().meta({ description: 'Where it calls, by GET or POST. Keep it as a key.' }),
    host: z.string().nullable().meta({ description: 'Calls of /aff_lsr under this host name come to it.' }),
    signed: z.boolean().meta({ description: 'Its calls are signed, or carry a secret.' }),
    has_secret: z.boolean(),
    old_secret_until: timeText.nullable(),
    mapping: z
      .unknown()
      .meta({ description: 'How its calls are read; null: as its kind is (docs/connect/anything.md).' }),
    last_call_at: timeText.nullable(),
    last_refusal: z
      .object({ call_id: idText('postbackCall'), at: timeText, code: z.string(), detail: z.string() })
      .nullable()
      .meta({ description: 'The newest call that could not be done and has not been since.' }),
    orders_24h: z.int().meta({ description: 'New orders of the last 24 hours.' }),
    created_at: timeText,
  })
  .meta({ id: 'Source' });

export function formatSource(
  source: Source,
  { address, state, portalUrl }: { address: string; state: SourceState | undefined; portalUrl: string },
): z.output<typeof sourceView> {
  const { id, programId, kind, name, status, host, mapping, createdAt } = source;
  const { signature, secret } = kindOf(kind);
  const { refusedId = null, refusedAt = null, refusedCode = null, refusedDetail = null } = state ?? {};
  return {
    id: formatId('source', id),
    program_id: formatId('program', programId),
    kind: kind as (typeof SOURCE_KINDS)[number],
    name,
    status,
    url: `${portalUrl}/in/${address}`,
    host,
    signed: signature !== undefined || (typeof secret === 'object' && source.secret !== null),
    has_secret: source.secret !== null,
    old_secret_until: formatOptionalTime(source.oldSecretUntil),
    mapping,
    last_call_at: formatOptionalTime(state?.lastCallAt ?? null),
    last_refusal:
      refusedId !== null && refusedAt !== null
        ? {
            call_id: formatId('postbackCall', refusedId),
            at: formatTime(refusedAt),
            code: refusedCode ?? '',
            detail: refusedDetail ?? '',
          }
        : null,
    orders_24h: state?.newOrders ?? 0,
    created_at: formatTime(createdAt),
  };
}

/** As the audit log keeps it: what calls say of it is no part of it, and its address is a secret. */
export function auditedSource(view: z.output<typeof sourceView>): object {
  const { url: _, last_call_at: __, last_refusal: ___, orders_24h: ____, ...rest } = view;
  return rest;
}

export const kindView = z
  .object({
    kind: z.enum(SOURCE_KINDS),
    title: z.string(),
    signed: z.boolean(),
    secret: z.enum(['theirs', 'ours', 'none', 'parameter']).meta({
      description:
        'Who makes the secret of its calls: the vendor; this platform; neither; parameter: it stands in the URL, if it is set.',
    }),
    secret_parameter: z.string().nullable().meta({ description: 'Its name in the URL.' }),
    mapping: z
      .unknown()
      .meta({ description: 'How calls of a source without a mapping of its own are read.' }),
    example: z
      .object({
        method: z.enum(['GET', 'POST']),
        query: z.string(),
        headers: z.record(z.string(), z.string()),
        body: z.string(),
      })
      .meta({ description: 'A call as the vendor makes it, made up here: the request of a try.' }),
  })
  .meta({ id: 'KindOfSource' });

export function formatKind(kind: SourceKindName): z.output<typeof kindView> {
  const { title, signature, secret, preset } = kindOf(kind);
  const { method, body, ...rest } = exampleOf(kind);
  return {
    kind,
    title,
    signed: signature !== undefined,
    secret: typeof secret === 'object' ? 'parameter' : secret,
    secret_parameter: typeof secret === 'object' ? secret.parameter : null,
    mapping: preset,
    example: { ...rest, method: method === 'GET' ? 'GET' : 'POST', body: body.toString('utf8') },
  };
}

const fault = z.object({ field: z.string(), message: z.string() });
export const readingView = z
  .object({
    reports: z.array(
      z.object({
        params: z.unknown().meta({ description: 'Under our names; e-mail addresses as their hashes.' }),
        faults: z.array(fault).meta({ description: 'Empty: it would be recorded.' }),
      }),
    ),
    ignored: z.string().nullable().meta({ description: 'Why nothing would be recorded.' }),
    faults: z.array(fault).meta({ description: 'Why the call cannot be read.' }),
    names: z
      .array(z.object({ order_id: z.string(), other_ids: z.array(z.string()) }))
      .meta({ description: 'Other ids of orders that the call tells.' }),
    notes: z.array(z.string()).meta({ description: 'What would be left out.' }),
  })
  .meta({ id: 'SourceReading' });

export function formatReading({
  reports,
  names,
  ignored,
  faults,
  notes,
}: Reading): z.output<typeof readingView> {
  return {
    reports: reports.map((read) => ({ params: loggedParams(read.params), faults: [...read.faults] })),
    ignored: ignored ?? null,
    faults: [...faults],
    names: names.map(({ orderId, otherIds }) => ({ order_id: orderId, other_ids: [...otherIds] })),
    notes: [...notes],
  };
}

export const requestView = z
  .object({
    method: z.string(),
    query: z.string(),
    headers: z.record(z.string(), z.string()),
    body: z.string(),
  })
  .meta({ id: 'SourceRequest' });

/** Signatures prove nothing here, and would to others. */
const SIGNATURES = /signature|hmac/;
/** Parameters that are credentials, whatever of their name is percent-encoded. */
const CREDENTIAL = /(?:token|key|secret|signature|password)$/i;
const CREDENTIALS = /((?:^|[?&"])[a-z_]{0,30}(?:token|key|secret|signature|password)=)[^&"\s]*/gi;
/** Bounded, so that a long text without any is read once. */
const EMAIL = /[^\s"'<>@,;:=&]{1,64}@[^\s"'<>@,;:=&]{1,255}/g;

function withoutCredential(parameter: string): string {
  const [name = ''] = parameter.split('=');
  return Object.keys(parseForm(name)).some((one) => CREDENTIAL.test(one)) ? `${name}=[hidden]` : parameter;
}

/** The request as people look at it to write a mapping: without secrets, and with e-mail addresses left out. */
export function formatRequest({ method, query, headers, body }: SentRequest): z.output<typeof requestView> {
  const shown = (text: string) =>
    hideSecrets(text.toWellFormed()).replace(CREDENTIALS, '$1[hidden]').replace(EMAIL, '[e-mail]');
  return {
    method,
    query: shown(query.split('&').map(withoutCredential).join('&')),
    headers: Object.fromEntries(
      Object.entries(headers)
        .filter(([name]) => !SIGNATURES.test(name))
        .map(([name, value]) => [name, shown(value)]),
    ),
    body: shown(body.toString('utf8')),
  };
}
