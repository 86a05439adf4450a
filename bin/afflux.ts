#!/usr/bin/env node
import { PRIVATE_UMASK } from '../core/config/home.ts';
import { errorText, OperatingError } from '../core/errors.ts';
import { createProgram } from './program.ts';

process.umask(PRIVATE_UMASK);
try {
  await createProgram().parseAsync();
} catch (error) {
  const isOperating = error instanceof OperatingError;
  process.stderr.write(`${isOperating ? `afflux: ${errorText(error)}` : (error as Error).stack}\n`);
  process.exitCode = 1;
}
