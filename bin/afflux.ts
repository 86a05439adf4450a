#!/usr/bin/env node
import { PRIVATE_UMASK } from '../core/config/home.ts';
import { errorText, OperatingError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { hideSecrets } from '../core/secret-forms.ts';
import { withoutPassword } from '../core/url.ts';
import { createProgram } from './program.ts';

process.umask(PRIVATE_UMASK);
try {
  await createProgram().parseAsync();
} catch (error) {
  const { natsFailure } = await import('../core/clicks/nats-errors.ts');
  const operating = error instanceof OperatingError ? errorText(error) : natsFailure(error)?.message;
  const message = operating ? `afflux: ${operating}` : withoutPassword(String((error as Error).stack));
  process.stderr.write(`${hideSecrets(message).split('\n').map(printable).join('\n')}\n`);
  process.exitCode = 1;
}
