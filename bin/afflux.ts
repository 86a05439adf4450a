#!/usr/bin/env node
import { errorText, OperatingError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { hideSecrets } from '../core/secret-forms.ts';
import { createProgram } from './program.ts';

try {
  await createProgram().parseAsync();
} catch (error) {
  const isOperating = error instanceof OperatingError;
  const text = hideSecrets(isOperating ? `afflux: ${errorText(error)}` : String((error as Error).stack));
  process.stderr.write(`${text.split('\n').map(printable).join('\n')}\n`);
  process.exitCode = 1;
}
