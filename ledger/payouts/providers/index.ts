import { join } from 'node:path';
import type { Config } from '../../../core/config/config.ts';
import { OperatingError } from '../../../core/errors.ts';
import type { PayoutProvider } from '../provider.ts';
import { createBankCsvProvider } from './bank-csv.ts';
import { createPayPalCsvProvider } from './paypal-csv.ts';
import { createSepaProvider } from './sepa-xml.ts';
import { createStripeProvider } from './stripe.ts';

/** Where the files of payments are. */
export const paymentFolder = ({ home }: Pick<Config, 'home'>): string => join(home, 'payouts');

/** The provider that PAYOUT_PROVIDER names. @throws OperatingError `invalid_config`: it lacks a key, or who pays. */
export function createPayoutProvider(
  config: Pick<
    Config,
    'home' | 'payoutProvider' | 'stripeSecretKey' | 'sepaDebtorName' | 'sepaDebtorIban' | 'sepaDebtorBic'
  >,
): PayoutProvider {
  const folder = paymentFolder(config);
  switch (config.payoutProvider) {
    case 'bank_csv':
      return createBankCsvProvider({ folder });
    case 'paypal_csv':
      return createPayPalCsvProvider({ folder });
    case 'sepa_xml': {
      const { sepaDebtorName: name, sepaDebtorIban: iban, sepaDebtorBic: bic } = config;
      return createSepaProvider({ folder, debtor: { name, iban, bic } });
    }
    case 'stripe':
      if (config.stripeSecretKey !== '') return createStripeProvider({ secretKey: config.stripeSecretKey });
      throw new OperatingError('invalid_config', 'PAYOUT_PROVIDER=stripe needs STRIPE_SECRET_KEY');
  }
}
