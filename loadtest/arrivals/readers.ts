import { DAY_MS } from '../../core/time.ts';
import type { DemoFile } from '../platform.ts';
import type { Client } from './client.ts';
import type { Outcome } from './rate.ts';

/** An operator who asks for reports, and a partner who looks at the portal. */
export interface Readers {
  report(): Promise<Outcome>;
  /** What a page of the portal asks for, in turn. */
  portal(n: number): Promise<Outcome>;
}

/** @throws Error when the partner cannot sign in. */
export async function createReaders(options: {
  client: Client;
  demo: Pick<DemoFile, 'keys' | 'portal'>;
  reportProblem: (text: string) => void;
}): Promise<Readers> {
  const { client, demo, reportProblem } = options;
  const operator = { Authorization: `Bearer ${demo.keys.operator}` };
  const partner = await signIn(client, demo.portal.partner);

  async function read(path: string, headers: Readonly<Record<string, string>>): Promise<Outcome> {
    const answer = await client.send({ method: 'GET', path, headers });
    if (!answer) return 'unanswered';
    if (answer.status === 200) return 'good';
    reportProblem(`${path} was answered ${answer.status}: ${answer.body}`);
    return 'wrong';
  }

  const pages = [
    () => `/v1/reports?${lastDays(30)}&group_by=day&metrics=clicks,valid_clicks,conversions`,
    () => `/v1/affiliates/${partner.affiliateId}/balance`,
    () => '/v1/conversions?limit=6',
    () => '/v1/commissions?limit=20',
  ];
  return {
    report: () => read(`/v1/reports?${lastDays(7)}&group_by=hour,campaign`, operator),
    portal: (n) => read(pages[n % pages.length]?.() ?? '/', { Cookie: partner.cookie }),
  };
}

async function signIn(
  client: Client,
  body: { email: string; password: string },
): Promise<{ cookie: string; affiliateId: string }> {
  const answer = await client.send({ method: 'POST', path: '/v1/session', body });
  if (answer?.status !== 201) throw new Error(`the partner cannot sign in: ${answer?.body}`);
  const { user } = JSON.parse(answer.body) as { user: { affiliate_id: string } };
  const cookies = (answer.headers['set-cookie'] ?? '').split('\n').map((cookie) => cookie.split(';')[0]);
  return { cookie: cookies.join('; '), affiliateId: user.affiliate_id };
}

/** Whole days, today's among them. */
function lastDays(days: number): string {
  const to = Math.ceil(Date.now() / DAY_MS) * DAY_MS;
  return `from=${new Date(to - days * DAY_MS).toISOString()}&to=${new Date(to).toISOString()}`;
}
