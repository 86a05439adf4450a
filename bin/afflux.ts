#!/usr/bin/env node
import { errorText, OperatingError } from '../core/errors.ts';
import { withoutPassword } from '../core/url.ts';
import { createProgram } from './program.ts';

try {
  await createProgram().parseAsync();
} catch (error) {
  const isOperating = error instanceof OperatingError;
  const text = isOperating ? `afflux: ${errorText(error)}` : withoutPassword(String((error as Error).stack));
  process.stderr.write(`${text}\n`);
  process.exitCode = 1;
}
