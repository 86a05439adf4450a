import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';

/**
 * A stand-in for Grafana's HTTP API: there is no Grafana to be tried here. It knows the operations that `afflux grafana`
 * uses, as Grafana's OpenAPI document and its pages about provisioning describe them, refuses every member that they do
 * not name, and keeps what it is given.
 */

const dataSource = z.strictObject({
  name: z.string().min(1),
  type: z.string().min(1),
  uid: z.string().regex(/^[\w-]{1,40}$/),
  url: z.string(),
  access: z.enum(['proxy', 'direct']),
  user: z.string(),
  jsonData: z.record(z.string(), z.unknown()),
  secureJsonData: z.record(z.string(), z.string()),
});
const folder = z.strictObject({ uid: z.string().regex(/^[\w-]{1,40}$/), title: z.string().min(1) });
const dashboard = z.strictObject({
  dashboard: z.looseObject({
    uid: z.string().regex(/^[\w-]{1,40}$/),
    title: z.string().min(1),
    id: z.null().optional(),
    panels: z.array(z.unknown()).min(1),
  }),
  folderUid: z.string(),
  overwrite: z.boolean(),
  message: z.string(),
});
const contactPoint = z.strictObject({
  uid: z.string().regex(/^[\w-]{1,40}$/),
  name: z.string().min(1),
  type: z.enum(['email', 'webhook']),
  settings: z.union([
    z.strictObject({ addresses: z.string().min(1), singleEmail: z.boolean() }),
    z.strictObject({ url: z.url(), httpMethod: z.enum(['POST', 'PUT']) }),
  ]),
  disableResolveMessage: z.boolean(),
});
const duration = z.string().regex(/^(?:\d+(?:ms|[smhdwy]))+$/);
const rule = z.strictObject({
  uid: z.string().regex(/^[\w-]{1,40}$/),
  orgID: z.int(),
  folderUID: z.string(),
  ruleGroup: z.string().max(190),
  title: z.string().min(1).max(190),
  condition: z.string(),
  data: z
    .array(
      z.strictObject({
        refId: z.string(),
        relativeTimeRange: z.strictObject({ from: z.int(), to: z.int() }),
        datasourceUid: z.string(),
        model: z.record(z.string(), z.unknown()),
      }),
    )
    .min(1),
  noDataState: z.enum(['Alerting', 'NoData', 'OK', 'KeepLast']),
  execErrState: z.enum(['OK', 'Alerting', 'Error', 'KeepLast']),
  for: duration,
  keep_firing_for: duration,
  missingSeriesEvalsToResolve: z.int().positive(),
  annotations: z.record(z.string(), z.string()),
  labels: z.record(z.string(), z.string()),
  isPaused: z.boolean(),
  notification_settings: z
    .strictObject({
      receiver: z.string().min(1),
      group_wait: duration,
      group_interval: duration,
      repeat_interval: duration,
    })
    .optional(),
});
const ruleGroup = z.strictObject({
  title: z.string(),
  folderUid: z.string(),
  // Seconds; Grafana evaluates every ten.
  interval: z.int().multipleOf(10),
  rules: z.array(rule),
});

export type RuleGroup = z.infer<typeof ruleGroup>;

interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

export interface StandIn {
  readonly url: string;
  /** What is kept, by the path of the API and the uid. */
  readonly kept: Map<string, unknown>;
  /** Every request, as `METHOD /path`. */
  readonly calls: string[];
  close(): Promise<void>;
}

export interface StandInOptions {
  readonly token: string;
  /** Null: it is not installed. */
  readonly pluginVersion: string | null;
  /** May it change anything? */
  readonly mayWrite?: boolean;
  /** Does it say what its reader may do? */
  readonly saysRights?: boolean;
  /** The path that it is served under. */
  readonly under?: string;
}

export async function startStandIn(options: StandInOptions): Promise<StandIn> {
  const kept = new Map<string, unknown>();
  const calls: string[] = [];
  const { under = '' } = options;
  const server = createServer(async (request, response) => {
    const path = request.url?.slice(under.length) ?? '';
    calls.push(`${request.method} ${path}`);
    const { status, body } = answer(options, kept, { request, path, text: await textOf(request) });
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(body === undefined ? '' : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${under}`,
    kept,
    calls,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
}

function answer(
  options: StandInOptions,
  kept: Map<string, unknown>,
  { request, path, text }: { request: IncomingMessage; path: string; text: string },
): Answer {
  const { method = '' } = request;
  if (path === '/api/health') return { status: 200, body: { database: 'ok', version: '13.2.3' } };
  if (request.headers.authorization !== `Bearer ${options.token}`) {
    return { status: 401, body: { message: 'Invalid API key' } };
  }
  if (method !== 'GET' && options.mayWrite === false) {
    return { status: 403, body: { message: `You'll need additional permissions to perform this action.` } };
  }
  if (path === '/api/plugins/grafana-clickhouse-datasource/settings') {
    return options.pluginVersion === null
      ? { status: 404, body: { message: 'Plugin not found, no installed plugin with that id' } }
      : { status: 200, body: { info: { version: options.pluginVersion } } };
  }
  if (path === '/api/access-control/user/permissions') return rightsOf(options);
  if (method === 'GET') return read(kept, path);
  if (method === 'DELETE') return { status: kept.delete(path) ? 202 : 404 };
  return write(kept, method, path, JSON.parse(text));
}

function rightsOf({ saysRights = true, mayWrite = true }: StandInOptions): Answer {
  if (!saysRights) return { status: 404, body: { message: 'Not found' } };
  const rights = ['datasources:create', 'datasources:write', 'folders:create', 'dashboards:create'];
  return {
    status: 200,
    body: Object.fromEntries([...(mayWrite ? rights : []), 'dashboards:read'].map((name) => [name, ['*']])),
  };
}

const CONTACTS = '/api/v1/provisioning/contact-points';
const BOARDS = '/api/dashboards/uid';
const GROUPS = '/api/v1/provisioning/folder';

function read(kept: Map<string, unknown>, path: string): Answer {
  const below = (prefix: string): unknown[] =>
    [...kept].flatMap(([key, value]) => (key.startsWith(`${prefix}/`) ? [value] : []));
  if (path === CONTACTS) return { status: 200, body: below(CONTACTS) };
  if (path === '/api/datasources') return { status: 200, body: below('/api/datasources/uid') };
  if (path === '/api/v1/provisioning/alert-rules') {
    return { status: 200, body: below(GROUPS).flatMap((group) => (group as RuleGroup).rules) };
  }
  const search = /^\/api\/search\?type=dash-db&folderUIDs=([\w-]+)$/.exec(path);
  if (search) {
    const all = below(BOARDS) as { dashboard: { uid: string }; folderUid: string }[];
    const inFolder = all.filter(({ folderUid }) => folderUid === search[1]);
    return { status: 200, body: inFolder.map(({ dashboard: { uid } }) => ({ uid })) };
  }
  const found = kept.get(path);
  return found === undefined ? { status: 404, body: { message: 'not found' } } : { status: 200, body: found };
}

/** `key`: where a thing is read. A POST makes it, a PUT changes it; only rule groups are made by PUT. */
function write(kept: Map<string, unknown>, method: string, path: string, body: unknown): Answer {
  const group = /^\/api\/v1\/provisioning\/folder\/([\w-]+)\/rule-groups\/([\w-]+)$/.exec(path);
  if (method === 'PUT' && group) {
    if (!kept.has(`/api/folders/${group[1]}`)) return { status: 404, body: { message: 'folder not found' } };
    return keep(kept, path, ruleGroup, body, (given) => unsentRule(kept, given));
  }
  if (method === 'POST' && path === '/api/dashboards/db') {
    const { uid } = (body as { dashboard: { uid: string } }).dashboard;
    return keep(kept, `/api/dashboards/uid/${uid}`, dashboard, body, () => undefined);
  }
  const kinds = [
    { list: '/api/datasources', one: '/api/datasources/uid', schema: dataSource },
    { list: '/api/folders', one: '/api/folders', schema: folder },
    { list: CONTACTS, one: CONTACTS, schema: contactPoint },
  ] as const;
  for (const { list, one, schema } of kinds) {
    const key = method === 'POST' ? `${one}/${(body as { uid: string }).uid}` : path;
    if (method === 'POST' && path === list) {
      if (kept.has(key)) return { status: 409, body: { message: `${key} already exists` } };
      return keep<unknown>(kept, key, schema, body, () => undefined);
    }
    if (method === 'PUT' && path.startsWith(`${one}/`)) {
      if (!kept.has(key)) return { status: 404, body: { message: 'not found' } };
      return keep<unknown>(kept, key, schema, body, () => undefined);
    }
  }
  return { status: 404, body: { message: `no operation ${method} ${path}` } };
}

function keep<T>(
  kept: Map<string, unknown>,
  key: string,
  schema: z.ZodType<T>,
  body: unknown,
  fault: (given: T) => string | undefined,
): Answer {
  const parsed = schema.safeParse(body);
  if (!parsed.success) return { status: 400, body: { message: z.prettifyError(parsed.error) } };
  const message = fault(parsed.data);
  if (message !== undefined) return { status: 400, body: { message } };
  kept.set(key, parsed.data);
  return { status: 200, body: {} };
}

/** Grafana refuses a rule that names a contact point, or asks a data source, that there is not. */
function unsentRule(kept: Map<string, unknown>, { rules }: RuleGroup): string | undefined {
  const names = new Set(
    [...kept].flatMap(([key, value]) =>
      key.startsWith(`${CONTACTS}/`) ? [(value as { name: string }).name] : [],
    ),
  );
  for (const { notification_settings: settings, data, title } of rules) {
    if (settings && !names.has(settings.receiver))
      return `${title}: receiver ${settings.receiver} is unknown`;
    for (const { datasourceUid: uid } of data) {
      if (uid !== '__expr__' && !kept.has(`/api/datasources/uid/${uid}`)) {
        return `${title}: data source ${uid} is unknown`;
      }
    }
  }
  return undefined;
}
