#!/usr/bin/env node
import { errorText, OperatingError } from '../core/errors.ts';
import { createProgram } from './program.ts';

try {
  await createProgram().parseAsync();
} catch (error) {
  const isOperating = error instanceof OperatingError;
  process.stderr.write(`${isOperating ? `afflux: ${errorText(error)}` : (error as Error).stack}\n`);
  process.exitCode = 1;
}
