/** A request as it is built from the seed; who sends it knows where the service is. */
export interface TrafficRequest {
  readonly service: 'collector' | 'api';
  readonly method: 'GET' | 'POST';
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A whole answer; no redirect is followed. */
export interface Answer {
  readonly status: number;
  /** By name in lower case. A repeated one: its values, separated by line breaks. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}

/** A request with a JSON body. */
export function jsonRequest(
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): TrafficRequest {
  return {
    service: 'api',
    method: 'POST',
    path,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  };
}

/** `a=1&b=2`: k6 has no URLSearchParams. */
export function queryText(parameters: Readonly<Record<string, string>>): string {
  return Object.keys(parameters)
    .map((name) => `${encodeURIComponent(name)}=${encodeURIComponent(parameters[name] ?? '')}`)
    .join('&');
}

/** What is wrong with an answer, in words; undefined when its status is right. */
export function wrongStatus(answer: Answer, status: number): string | undefined {
  return answer.status === status ? undefined : `answered ${answer.status}: ${answer.body}`;
}
