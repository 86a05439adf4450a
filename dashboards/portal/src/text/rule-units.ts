import type { Schemas } from '../data/api.ts';
import { t } from './t.ts';

type RuleName = keyof NonNullable<Schemas['Program']['fraud_rules']>;

/** What a fraud rule counts, or null where a rule is on or off. */
export const RULE_UNITS = {
  bot_click: null,
  forced_click: null,
  high_conversion_rate_from_ip: t('ruleUnits.conversions_an_hour'),
  instant_conversion: t('ruleUnits.seconds'),
  click_velocity_ip: t('ruleUnits.clicks_in_the_hour_before'),
  click_velocity_subnet: t('ruleUnits.clicks_in_the_hour_before'),
  click_velocity_fingerprint: t('ruleUnits.clicks_in_the_hour_before'),
  geo_mismatch: null,
  data_centre: null,
  repeat_orders: t('ruleUnits.orders_of_one_customer_a'),
  coupon_without_click: t('ruleUnits.orders_of_one_code_without'),
  fast_conversions: t('ruleUnits.percent_within_two_minutes'),
  repeat_payment_account: t('ruleUnits.orders_of_one_payment_account'),
  shared_payout_account: t('ruleUnits.orders_with_other_partners'),
  leaked_coupon: t('ruleUnits.one_day_in'),
  forced_clicks_share: t('ruleUnits.percent_of_forced_clicks'),
  regular_click_to_order: t('ruleUnits.percent_of_variation'),
  conversion_rate: t('ruleUnits.times_the_campaigns_rate'),
  anomaly: t('ruleUnits.one_day_in'),
} as const satisfies Record<RuleName, string | null>;
