import { JetStreamApiError, JetStreamError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';
import { errorText, OperatingError } from '../errors.ts';

/** Of a server without JetStream: the package does not export its class. */
const NOT_ENABLED = 'JetStreamNotEnabled';

/** A failure of NATS, as its client throws it, as an operating error; undefined for anything else. */
export function natsFailure(error: unknown): OperatingError | undefined {
  const isOfNats =
    [JetStreamError, JetStreamApiError, ...Object.values(errors)].some((kind) => error instanceof kind) ||
    (error instanceof Error && error.name === NOT_ENABLED);
  if (!isOfNats) return undefined;
  return new OperatingError('nats_failed', `a request to NATS failed: ${errorText(error)}`, { cause: error });
}
