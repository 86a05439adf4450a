import { createReadStream } from 'node:fs';
import { RecordBatchReader } from 'apache-arrow';
import { asyncBufferFromFile, parquetMetadataAsync } from 'hyparquet';
import type { ExportFormat } from '../../warehouse/reports/report-export.ts';

const QUOTE = 0x22;
const LINE_FEED = 0x0a;

/** Rows of the file of a report, the header of CSV not counted. */
export async function rowsInFile(path: string, format: ExportFormat): Promise<number> {
  if (format === 'csv') return await rowsOfCsv(path);
  if (format === 'arrow') return await rowsOfArrow(path);
  const { num_rows: rows } = await parquetMetadataAsync(await asyncBufferFromFile(path));
  return Number(rows);
}

/** Line feeds outside of quotes; a quote within a cell is doubled, which changes nothing. */
async function rowsOfCsv(path: string): Promise<number> {
  let lines = 0;
  let isQuoted = false;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    for (const byte of chunk) {
      if (byte === QUOTE) isQuoted = !isQuoted;
      else if (byte === LINE_FEED && !isQuoted) lines++;
    }
  }
  return lines - 1;
}

async function rowsOfArrow(path: string): Promise<number> {
  let rows = 0;
  for await (const batch of await RecordBatchReader.from(createReadStream(path))) rows += batch.numRows;
  return rows;
}
