import { InputError } from '../../core/errors.ts';
import { parseDestination } from '../../core/links/destination.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput } from '../postgres/input-faults.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';
import { getCampaign, hostsOfCampaign } from './campaigns.ts';

/** A landing page of a campaign that affiliates make links of. */
export interface LinkTemplate {
  readonly id: number;
  readonly programId: number;
  readonly campaignId: number;
  readonly name: string;
  /** With macros, as a link's. */
  readonly landingUrl: string;
  readonly createdAt: Date;
}

const COLUMNS = ['id', 'programId', 'campaignId', 'name', 'landingUrl', 'createdAt'];

/** @throws InputError naming `campaign_id`, `name` or `landing_url`. */
export async function createLinkTemplate(
  sql: DatabaseSql,
  template: Pick<LinkTemplate, 'campaignId' | 'name' | 'landingUrl'>,
): Promise<LinkTemplate> {
  const { campaignId, name } = template;
  const campaign = await getCampaign(sql, campaignId);
  if (!campaign) throw new InputError('campaign_id', 'there is no such campaign');
  const allowedHosts = hostsOfCampaign(campaign);
  const { url } = parseDestination(template.landingUrl, { field: 'landing_url', allowedHosts });
  const [created] = await answeringInput(
    sql<[LinkTemplate]>`
      insert into link_templates (program_id, campaign_id, name, landing_url)
      values (${campaign.programId}, ${campaignId}, ${name}, ${url})
      returning ${sql(COLUMNS)}`,
  );
  return created;
}

export async function getLinkTemplate(sql: DatabaseSql, id: number): Promise<LinkTemplate | undefined> {
  const [template] = await sql<LinkTemplate[]>`select ${sql(COLUMNS)} from link_templates where id = ${id}`;
  return template;
}

/** Templates by id. */
export async function listLinkTemplates(
  sql: DatabaseSql,
  request: PageRequest<number> & { programId?: number | undefined; campaignId?: number | undefined },
): Promise<Page<LinkTemplate, number>> {
  const { programId = null, campaignId = null } = request;
  const rows = await sql<LinkTemplate[]>`
    select ${sql(COLUMNS)} from link_templates
    where id > ${request.after ?? 0}
      and (${programId}::integer is null or program_id = ${programId})
      and (${campaignId}::integer is null or campaign_id = ${campaignId})
    order by id limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}

export async function deleteLinkTemplate(sql: DatabaseSql, id: number): Promise<void> {
  await sql`delete from link_templates where id = ${id}`;
}
