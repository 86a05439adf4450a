import { join } from 'node:path';
import type { Config } from '../../../core/config/config.ts';
import { OperatingError } from '../../../core/errors.ts';
import type { PayoutProvider } from '../provider.ts';
import { createBankCsvProvider } from './bank-csv.ts';
import { createPayPalCsvProvider } from './paypal-csv.ts';
import { createStripeProvider } from './stripe.ts';

/** The provider that PAYOUT_PROVIDER names. @throws OperatingError `invalid_config` for Stripe without a key. */
export function createPayoutProvider(
  config: Pick<Config, 'home' | 'payoutProvider' | 'stripeSecretKey'>,
): PayoutProvider {
  const folder = join(config.home, 'payouts');
  switch (config.payoutProvider) {
    case 'bank_csv':
      return createBankCsvProvider({ folder });
    case 'paypal_csv':
      return createPayPalCsvProvider({ folder });
    case 'stripe':
      if (config.stripeSecretKey !== '') return createStripeProvider({ secretKey: config.stripeSecretKey });
      throw new OperatingError('invalid_config', 'PAYOUT_PROVIDER=stripe needs STRIPE_SECRET_KEY');
  }
}
