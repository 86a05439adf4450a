import type { SecretBox } from '../secret-box.ts';

/**
 * Who may read `/metrics`: the holder of a token that follows from DATA_KEYS, the same for every process. It stays valid
 * through a rotation of the keys, as long as the old key is kept. `afflux metrics-token` prints it.
 */
const PURPOSE = 'metrics';
const RIGHT = 'read';

export function metricsToken(secretBox: SecretBox): string {
  return secretBox.sign(PURPOSE, RIGHT);
}

/** Whether a request with this header `Authorization` may read the metrics. */
export function mayReadMetrics(secretBox: SecretBox, authorization: string | undefined): boolean {
  const token = /^Bearer +([\w-]{1,100})$/i.exec(authorization ?? '')?.[1];
  return token !== undefined && secretBox.verify(PURPOSE, RIGHT, token);
}

/** What the others are answered. */
export const METRICS_REFUSAL = {
  status: 401,
  headers: { 'www-authenticate': 'Bearer realm="metrics"' },
  text: 'send "Authorization: Bearer <token>"; "afflux metrics-token" prints the token',
} as const;
