import { type Answer, jsonRequest, queryText, type TrafficRequest, wrongStatus } from './http.ts';

const DAY_MS = 24 * 3_600_000;

/** A partner who has signed in. */
export interface Partner {
  readonly cookie: string;
  readonly affiliateId: string;
}

export function signIn(partner: { email: string; password: string }): TrafficRequest {
  return jsonRequest('/v1/session', { email: partner.email, password: partner.password });
}

/** @throws Error when the partner was not let in. */
export function signedIn(answer: Answer): Partner {
  const wrong = wrongStatus(answer, 201);
  if (wrong !== undefined) throw new Error(`the partner cannot sign in: ${wrong}`);
  const { user } = JSON.parse(answer.body) as { user: { affiliate_id: string } };
  const cookies = (answer.headers['set-cookie'] ?? '').split('\n').map((cookie) => cookie.split(';')[0]);
  return { cookie: cookies.join('; '), affiliateId: user.affiliate_id };
}

/** An operator asks for a report of a week. */
export function report(operatorKey: string, now: number): TrafficRequest {
  const query = queryText({ ...lastDays(7, now), group_by: 'hour,campaign' });
  return read(`/v1/reports?${query}`, { Authorization: `Bearer ${operatorKey}` });
}

/** What a page of the portal asks for, in turn. */
export function portalRead(partner: Partner, n: number, now: number): TrafficRequest {
  const report = { ...lastDays(30, now), group_by: 'day', metrics: 'clicks,valid_clicks,conversions' };
  const pages = [
    `/v1/reports?${queryText(report)}`,
    `/v1/affiliates/${partner.affiliateId}/balance`,
    '/v1/conversions?limit=6',
    '/v1/commissions?limit=20',
  ];
  return read(pages[n % pages.length] ?? '', { Cookie: partner.cookie });
}

function read(path: string, headers: Readonly<Record<string, string>>): TrafficRequest {
  return { service: 'api', method: 'GET', path, headers };
}

/** Whole days, today's among them. */
function lastDays(days: number, now: number): { from: string; to: string } {
  const to = Math.ceil(now / DAY_MS) * DAY_MS;
  return { from: new Date(to - days * DAY_MS).toISOString(), to: new Date(to).toISOString() };
}
