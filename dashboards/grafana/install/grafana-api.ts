import { errorText, OperatingError } from '../../../core/errors.ts';
import { CLICKHOUSE, CLICKHOUSE_PLUGIN_VERSION } from '../data-source-ids.ts';
import {
  ALERT_FOLDER,
  type AlertRule,
  alertRules,
  BOARD_FOLDER,
  type BoardJson,
  boards,
  CONTACT_POINT,
  CONTACT_UIDS,
  contactPoints,
  type DataSource,
  dataSources,
  isOwn,
  type Setup,
} from './setup.ts';

/** Brings a Grafana that runs already to what a platform needs, by its HTTP API. Repeating it changes nothing. */

const REQUEST_TIMEOUT_MS = 30_000;

/** What was made or changed, in words. */
export interface Installed {
  readonly grafanaVersion: string;
  readonly pluginVersion: string;
  readonly dataSources: number;
  readonly boards: number;
  readonly alerts: number;
  readonly contacts: number;
}

/**
 * `url`: of Grafana, with the path it is served under. `token`: of a service account with the role Admin.
 * @throws OperatingError `grafana_unreachable`; `grafana_refused` for a token that is wrong or has too few rights, and for a plugin that is
 * missing or too old.
 */
export async function installByApi(options: {
  setup: Setup;
  url: string;
  token: string;
}): Promise<Installed> {
  const { setup } = options;
  const api = createApi(options);
  const { version } = (await api.get('/api/health')) as { version?: string };
  const pluginVersion = await requirePlugin(api);
  const sources = dataSources(setup);
  const dashboards = boards(setup);
  await requireRights(api);
  await requireOurs(api, sources, dashboards);
  for (const source of sources) {
    const path = `/api/datasources/uid/${source.uid}`;
    const exists = (await api.find(path)) !== undefined;
    await api.send(exists ? 'PUT' : 'POST', exists ? path : '/api/datasources', source);
  }
  for (const folder of [BOARD_FOLDER, ALERT_FOLDER]) {
    if ((await api.find(`/api/folders/${folder.uid}`)) === undefined) {
      await api.send('POST', '/api/folders', folder);
    }
  }
  for (const dashboard of dashboards) {
    await api.send('POST', '/api/dashboards/db', {
      dashboard,
      folderUid: BOARD_FOLDER.uid,
      overwrite: true,
      message: 'afflux grafana',
    });
  }
  const points = await saveContactPoints(api, setup);
  const groups = alertRules(setup);
  for (const { name, interval, rules } of groups) {
    await api.send('PUT', `/api/v1/provisioning/folder/${ALERT_FOLDER.uid}/rule-groups/${name}`, {
      title: name,
      folderUid: ALERT_FOLDER.uid,
      interval: seconds(interval),
      rules: rules.map((rule) => ruleForApi(rule, name)),
    });
  }
  await points.removeOthers();
  await removeDropped(api, {
    boards: dashboards.map(({ uid }) => uid),
    groups: groups.map(({ name }) => name),
  });
  return {
    grafanaVersion: version ?? 'unknown',
    pluginVersion,
    dataSources: sources.length,
    boards: dashboards.length,
    alerts: groups.flatMap(({ rules }) => rules).length,
    contacts: points.count,
  };
}

async function requirePlugin(api: Api): Promise<string> {
  const found = (await api.find(`/api/plugins/${CLICKHOUSE.type}/settings`)) as
    | { info?: { version?: string } }
    | undefined;
  const remedy = `install ${CLICKHOUSE_PLUGIN_VERSION} or later: grafana cli plugins install ${CLICKHOUSE.type}`;
  if (!found) {
    throw new OperatingError('grafana_refused', `Grafana has no plugin ${CLICKHOUSE.type}: ${remedy}`);
  }
  const version = found.info?.version ?? '';
  if (isOlder(version, CLICKHOUSE_PLUGIN_VERSION)) {
    throw new OperatingError(
      'grafana_refused',
      `Grafana's plugin ${CLICKHOUSE.type} is ${version || 'of no known version'}: ${remedy}`,
    );
  }
  return version;
}

function isOlder(version: string, least: string): boolean {
  const parts = (text: string): number[] => (/^\d+(?:\.\d+)*/.exec(text)?.[0] ?? '').split('.').map(Number);
  const [given, wanted] = [parts(version), parts(least)];
  const at = wanted.findIndex((part, i) => part !== (given[i] ?? 0));
  return at !== -1 && (given[at] ?? 0) < (wanted[at] ?? 0);
}

/** Of the rights that are used those that tell Admin from Editor and Viewer, by the names that Grafana has for them. */
const RIGHTS = ['datasources:create', 'datasources:write', 'folders:create', 'dashboards:create'];

/** Before the first write, so that nothing is half made. */
async function requireRights(api: Api): Promise<void> {
  const rights = (await api.find('/api/access-control/user/permissions')) as
    | Record<string, unknown>
    | undefined;
  // A Grafana without this page, or with an empty one, answers each write for itself.
  if (Object.keys(rights ?? {}).length === 0) return;
  const missing = RIGHTS.filter((right) => !(right in (rights ?? {})));
  if (missing.length === 0) return;
  throw new OperatingError(
    'grafana_refused',
    `The service account of GRAFANA_TOKEN needs the role Admin: it has no ${missing.join(', ')}`,
  );
}

/** What files have made the API cannot change, and what has one of our names under another uid is not ours. */
async function requireOurs(
  api: Api,
  sources: readonly DataSource[],
  dashboards: readonly BoardJson[],
): Promise<void> {
  const there = (await api.get('/api/datasources')) as { uid: string; name: string; readOnly?: boolean }[];
  const taken = there.filter(({ uid, name }) =>
    sources.some((source) => source.name === name && source.uid !== uid),
  );
  if (taken.length > 0) {
    throw new OperatingError(
      'grafana_refused',
      `Grafana has a data source ${taken.map(({ name, uid }) => `${name} with the uid ${uid}`).join(', ')}, which is not of afflux grafana: rename or delete it there`,
    );
  }
  const fixed = there
    .filter(({ uid, readOnly }) => readOnly === true && sources.some((source) => source.uid === uid))
    .map(({ name }) => `data source ${name}`);
  for (const { uid, title } of dashboards) {
    const found = (await api.find(`/api/dashboards/uid/${uid}`)) as
      | { meta?: { provisioned?: boolean } }
      | undefined;
    if (found?.meta?.provisioned === true) fixed.push(`dashboard ${title}`);
  }
  for (const path of ['contact-points', 'alert-rules']) {
    const all = (await api.get(`/api/v1/provisioning/${path}`)) as { uid: string; provenance?: string }[];
    const ofFiles = all.filter(({ uid, provenance }) => provenance === 'file' && isOwn(uid));
    if (ofFiles.length > 0) fixed.push(`${ofFiles.length} ${path.replace('-', ' ')}`);
  }
  if (fixed.length === 0) return;
  throw new OperatingError(
    'grafana_refused',
    `These come from files in Grafana's provisioning folder, and only files change them: ${fixed.join(', ')}. Use --folder, or delete those files and restart Grafana`,
  );
}

/** What an earlier version made, and there is no more: by our folder and our marks, for a person may have put more there. */
async function removeDropped(
  api: Api,
  wanted: { readonly boards: readonly string[]; readonly groups: readonly string[] },
): Promise<void> {
  const found = (await api.get(`/api/search?type=dash-db&folderUIDs=${BOARD_FOLDER.uid}`)) as {
    uid: string;
  }[];
  for (const { uid } of found) {
    if (isOwn(uid) && !wanted.boards.includes(uid)) await api.send('DELETE', `/api/dashboards/uid/${uid}`);
  }
  const rules = (await api.get('/api/v1/provisioning/alert-rules')) as {
    folderUID: string;
    ruleGroup: string;
    labels?: { service?: string };
  }[];
  const inFolder = rules.filter(({ folderUID }) => folderUID === ALERT_FOLDER.uid);
  for (const group of new Set(inFolder.map(({ ruleGroup }) => ruleGroup))) {
    const own = inFolder.filter(({ ruleGroup }) => ruleGroup === group);
    if (wanted.groups.includes(group) || own.some(({ labels }) => labels?.service !== 'afflux')) continue;
    await api.send(
      'DELETE',
      `/api/v1/provisioning/folder/${ALERT_FOLDER.uid}/rule-groups/${encodeURIComponent(group)}`,
    );
  }
}

/** The receivers that are wanted; those of an earlier run go when no rule names their contact point any more. */
async function saveContactPoints(
  api: Api,
  setup: Setup,
): Promise<{ count: number; removeOthers: () => Promise<void> }> {
  const path = '/api/v1/provisioning/contact-points';
  const wanted = contactPoints(setup);
  const there = new Set(((await api.get(path)) as { uid: string }[]).map(({ uid }) => uid));
  for (const point of wanted) {
    const exists = there.has(point.uid);
    const body = { ...point, name: CONTACT_POINT, disableResolveMessage: false };
    await api.send(exists ? 'PUT' : 'POST', exists ? `${path}/${point.uid}` : path, body);
  }
  return {
    count: wanted.length,
    async removeOthers() {
      const others = CONTACT_UIDS.filter(
        (uid) => there.has(uid) && !wanted.some((point) => point.uid === uid),
      );
      for (const uid of others) await api.send('DELETE', `${path}/${uid}`);
    },
  };
}

/** The same rule under the names that the API has for its members. */
function ruleForApi(rule: AlertRule, group: string): object {
  const { dashboardUid, panelId, keepFiringFor, missing_series_evals_to_resolve, annotations, ...same } =
    rule;
  return {
    ...same,
    orgID: 1,
    folderUID: ALERT_FOLDER.uid,
    ruleGroup: group,
    keep_firing_for: keepFiringFor,
    missingSeriesEvalsToResolve: missing_series_evals_to_resolve,
    annotations: {
      ...annotations,
      __dashboardUid__: dashboardUid,
      __panelId__: String(panelId),
    },
  };
}

/** Of an interval in minutes. */
function seconds(interval: string): number {
  return Number(/^(\d+)m$/.exec(interval)?.[1]) * 60;
}

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

interface Api {
  get(path: string): Promise<unknown>;
  /** Undefined for 404. */
  find(path: string): Promise<unknown>;
  send(method: Method, path: string, body?: object): Promise<unknown>;
}

function createApi(options: { url: string; token: string }): Api {
  const base = options.url.replace(/\/+$/, '');

  async function ask(method: Method, path: string, body?: object): Promise<Response> {
    try {
      return await fetch(`${base}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${options.token}`,
          accept: 'application/json',
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        // The token is for this server.
        redirect: 'error',
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
    } catch (cause) {
      throw new OperatingError('grafana_unreachable', `Grafana at ${base}: ${errorText(cause)}`, { cause });
    }
  }

  async function answer(method: Method, path: string, response: Response): Promise<unknown> {
    const text = await response.text();
    if (response.ok) return parsed(base, text);
    throw new OperatingError('grafana_refused', refusal(method, path, response.status, text));
  }

  return {
    get: async (path) => answer('GET', path, await ask('GET', path)),
    async find(path) {
      const response = await ask('GET', path);
      if (response.status !== 404) return answer('GET', path, response);
      await response.body?.cancel();
      return undefined;
    },
    send: async (method, path, body) => answer(method, path, await ask(method, path, body)),
  };
}

function parsed(base: string, text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new OperatingError(
      'grafana_refused',
      `${base} does not answer as Grafana does: is there another server, or a path before /api?`,
      { cause },
    );
  }
}

const MAX_REASON_LENGTH = 300;

function refusal(method: Method, path: string, status: number, text: string): string {
  if (status === 401) {
    return 'Grafana does not know the token of GRAFANA_TOKEN: make a service account with the role Admin, and a token of it';
  }
  let reason = text;
  try {
    reason = String((JSON.parse(text) as { message?: string }).message ?? text);
  } catch {
    // An answer of a proxy.
  }
  const said = `Grafana answers ${status} to ${method} ${path}: ${reason.slice(0, MAX_REASON_LENGTH)}`;
  return status === 403 ? `${said}. The service account of GRAFANA_TOKEN needs the role Admin` : said;
}
